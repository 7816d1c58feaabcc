//! Settings from every source, and what is refused.

use super::*;

fn flags(args: &[&str]) -> Result<Flags, ConfigError> {
    Flags::parse(std::iter::once("rivvend").chain(args.iter().copied()).map(Into::into))
}

fn from_file(text: &str) -> Result<Effective, ConfigError> {
    effective(&Flags::default(), &BTreeMap::new(), Some(("rivven.yaml", text)))
}

fn variables(all: &[(&str, &str)]) -> BTreeMap<String, String> {
    all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn every_default_is_within_its_own_bounds_and_prints_as_it_is_read() {
    let config = Config::default();
    for setting in &SETTINGS {
        assert_eq!(setting.get(&config), setting.default, "{}", setting.name);
    }
    assert!(config.check().is_ok());
    assert!(config.exposed().is_empty());
}

#[test]
fn flags_win_over_variables_and_variables_over_the_file() {
    let file = "default-partitions: 5\nnode_id: 7\nmax-connections: 9\n";
    let variables = variables(&[("RIVVEN_NODE_ID", "8"), ("RIVVEN_MAX_CONNECTIONS", "10")]);
    let flags = flags(&["--max-connections", "11"]).unwrap();
    let effective = effective(&flags, &variables, Some(("rivven.yaml", file))).unwrap();
    let config = &effective.config;
    assert_eq!((config.default_partitions, config.node_id, config.max_connections), (5, 8, 11));
    let printed = effective.print();
    for line in [
        "default-partitions: 5 # file",
        "node-id: 8 # environment",
        "max-connections: 11 # flag",
        "auto-create-topics: true # default",
    ] {
        assert!(printed.lines().any(|printed| printed == line), "{line} in {printed}");
    }
}

#[test]
fn the_printed_configuration_is_a_file_that_gives_it_again() {
    for data_dir in ["it's: here #1", "1.50", "0x10", "/var/lib/rivven", "12", "null"] {
        let bind = ["--bind", "127.0.0.1:0,[::1]:0", "--advertise-addr", "[::1]:7"];
        let flags = flags(&[&["--data-dir", data_dir], &bind[..]].concat()).unwrap();
        let first = effective(&flags, &BTreeMap::new(), None).unwrap();
        assert_eq!(from_file(&first.print()).unwrap().config, first.config, "{data_dir}");
    }
}

#[test]
fn the_reference_s_spelling_in_a_server_section_is_read() {
    let cases = [
        ("server:\n  sync_policy: EveryNWrites(1)\n", SyncPolicy::EveryNWrites(1)),
        ("server:\n  sync_policy: EveryWrite\n", SyncPolicy::EveryWrite),
        ("sync_policy: every_n_writes(20)\n", SyncPolicy::EveryNWrites(20)),
        ("sync-policy: None\n", SyncPolicy::None),
        ("sync-policy: none\n", SyncPolicy::None),
    ];
    for (text, expected) in cases {
        assert_eq!(from_file(text).unwrap().config.sync_policy, expected, "{text}");
    }
    let list = from_file("bind:\n  - 127.0.0.1:1\n  - '[::1]:2'\n").unwrap();
    assert_eq!(list.config.bind.len(), 2);
    assert_eq!(from_file("").unwrap().config, Config::default());
}

#[test]
fn unknown_settings_are_refused_with_the_nearest_name() {
    for (text, nearest) in [
        ("data_dri: x\n", Some("data-dir")),
        ("server:\n  auto_create_topic: true\n", Some("auto-create-topics")),
        ("zzzzzzzzzzzz: 1\n", None),
    ] {
        let error = from_file(text).unwrap_err();
        let ConfigError::UnknownKey { nearest: found, .. } = &error else { panic!("{error}") };
        assert_eq!(*found, nearest, "{error}");
    }
    let slip = variables(&[("RIVVEN_NODEID", "1")]);
    let error = effective(&Flags::default(), &slip, None).unwrap_err();
    assert_eq!(
        error.to_string(),
        "environment: unknown setting RIVVEN_NODEID, did you mean node-id?"
    );
    let other = variables(&[("RIVVEN_CONFORMANCE", "1"), ("HOME", "/")]);
    assert!(effective(&Flags::default(), &other, None).is_ok());
    let error = flags(&["--data-dri", "x"]).unwrap_err().to_string();
    assert!(error.contains("--data-dir"), "{error}");
}

#[test]
fn values_out_of_bounds_are_refused() {
    let cases = [
        ("node-id", "-1"),
        ("node-id", "2147483648"),
        ("node-id", "one"),
        ("default-partitions", "0"),
        ("default-partitions", "100001"),
        ("auto-create-topics", "yes"),
        ("sync-policy", "every_n_writes(0)"),
        ("sync-policy", "sometimes"),
        ("bind", "9092"),
        ("bind", "127.0.0.1:1,127.0.0.1:1"),
        ("bind", ""),
        ("api-bind", "127.0.0.1"),
        ("advertise-addr", "host"),
        ("advertise-addr", "host:0"),
        ("advertise-addr", "::1:9092"),
        ("memory-bytes", "1000"),
        ("memory-bytes", "-1"),
        ("max-connections", "0"),
        ("log-level", ""),
        ("log-level", "a=b=c"),
        ("data-dir", ""),
    ];
    for (name, value) in cases {
        let flags = flags(&[&format!("--{name}"), value]).unwrap();
        assert!(effective(&flags, &BTreeMap::new(), None).is_err(), "{name}={value}");
    }
}

#[test]
fn numbers_are_taken_within_their_bounds_and_not_beyond() {
    for setting in &SETTINGS {
        let Some((min, max)) = setting.bounds() else { continue };
        let mut config = Config::default();
        for number in [min, max] {
            assert_eq!(setting.set(&mut config, &number.to_string()), Ok(()), "{}", setting.name);
            assert_eq!(setting.get(&config), number.to_string(), "{}", setting.name);
        }
        for number in [i128::from(min) - 1, i128::from(max) + 1] {
            assert!(setting.set(&mut config, &number.to_string()).is_err(), "{}", setting.name);
        }
    }
}

#[test]
fn what_storage_looks_for_is_looked_for_as_often_as_is_set() {
    let given = ["--log-retention-check-interval-ms=70", "--producer-id-expiration-ms=80"];
    let config = effective(&flags(&given).unwrap(), &BTreeMap::new(), None).unwrap().config;
    let options = config.storage_options();
    assert_eq!(options.retention_interval, Duration::from_millis(70));
    assert_eq!(options.producer_expiration_ms, 80);
}

/// docs/operating/configuration.md, as the table gives it.
fn page() -> String {
    let mut page = include_str!("page_head.md").to_owned();
    for setting in &SETTINGS {
        let name = setting.name;
        let variable = format!("RIVVEN_{}", name.replace('-', "_").to_uppercase());
        let default = match setting.default {
            "" => "none".to_owned(),
            default => format!("`{default}`"),
        };
        let limits = match setting.bounds() {
            Some((min, max)) => format!("{min} to {max}"),
            None => format!("`{}`", setting.value.replace('|', "\\|")),
        };
        let unit = match setting.value {
            "BYTES" | "MS" | "SECONDS" => format!(" {}", setting.value.to_lowercase()),
            _ => String::new(),
        };
        let doc = setting.doc;
        writeln!(
            page,
            "| `--{name}` | `{variable}` | `{name}` | {default} | {limits}{unit} | {doc} |"
        )
        .unwrap();
    }
    page
}

#[test]
#[expect(clippy::disallowed_methods, reason = "it writes the page where that is asked for")]
fn the_page_of_settings_is_what_the_table_gives() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operating/configuration.md");
    if std::env::var_os("WRITE_PAGES").is_some() {
        std::fs::write(path, page()).unwrap();
    }
    let found = std::fs::read_to_string(path).unwrap();
    let advice = "WRITE_PAGES=1 cargo test -p rivven-broker --lib page_of_settings writes it";
    assert!(found == page(), "docs/operating/configuration.md is stale: {advice}");
}

#[test]
fn files_that_are_no_settings_are_refused() {
    for text in ["- a\n", "a: [b: c]\n", "text\n", "a: {b: c}\n", "a: 1\n---\nb: 2\n", "\t%\n"] {
        assert!(from_file(text).is_err(), "{text:?}");
    }
}

#[test]
fn clients_never_take_the_file_handles_of_the_log() {
    for (open_files_max, segments, connections) in
        [(1 << 20, 1024, 4096), (4096, 1024, 2944), (1024, 256, 640), (256, 64, 64), (100, 25, 1)]
    {
        let config = Config { open_files_max, ..Config::default() };
        assert_eq!(config.storage_options().open_files_max, segments, "{open_files_max}");
        assert_eq!(config.connections_max(), connections, "{open_files_max}");
    }
}

#[test]
fn memory_must_hold_every_connection() {
    let flags = flags(&["--max-connections", "1000000"]).unwrap();
    let error = effective(&flags, &BTreeMap::new(), None).unwrap_err();
    assert!(matches!(error, ConfigError::Memory { .. }), "{error}");
}
