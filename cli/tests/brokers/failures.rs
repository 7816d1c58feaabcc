//! One sentence and an exit code for what goes wrong.

use std::ffi::OsStr;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::ffi::OsStrExt as _;
use std::process::Stdio;

use crate::fixture::{Fixture, command, interrupt, ran, run};

/// Something that listens; each connection is given to `serve`, which gets one first read.
fn listener(serve: fn(TcpStream)) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 1000]);
            serve(stream);
        }
    });
    address
}

#[test]
fn who_is_not_reached_is_named_with_what_to_do() {
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
    let broker = Fixture::start();
    let tls = listener(|mut stream| {
        let _ = stream.write_all(b"\x15\x03\x01\x00\x02\x02\x0a");
    });
    let closes = listener(drop);
    let silent = listener(std::mem::forget);
    for (address, wanted) in [
        (nobody.to_string(), "connection refused; is a broker running there? Name others with"),
        (broker.http.to_string(), "an HTTP server answers there; Kafka clients need another port"),
        (tls.to_string(), "speaks TLS"),
        (closes.to_string(), "it may not speak the Kafka protocol, or want TLS"),
        (silent.to_string(), "no answer within 700ms"),
        ("no.such.host.invalid".to_owned(), "no.such.host.invalid"),
    ] {
        for arguments in [
            &["topic", "list"][..],
            &["group", "list"],
            &["ping"],
            &["cluster"],
            &["produce", "orders", "x"],
            &["consume", "orders"],
            &["consume", "orders", "-g", "g"],
            &["bench", "produce", "orders"],
            &["bench", "consume", "orders"],
        ] {
            let arguments = [arguments, &["--timeout", "700ms"]].concat();
            let ran = run(&address, &arguments);
            assert_eq!((ran.code, ran.out.as_str()), (Some(3), ""), "{address}: {}", ran.err);
            assert!(ran.err.starts_with("rivven: no broker answers at"), "{}", ran.err);
            assert!(ran.err.contains(wanted), "{address}: {}", ran.err);
            assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
        }
    }
}

#[test]
fn the_next_broker_of_the_list_is_tried() {
    let broker = Fixture::start();
    let brokers = format!("127.0.0.1:1,{}", broker.client.config().bootstrap[0]);
    for _ in 0..4 {
        assert_eq!(run(&brokers, &["topic", "list"]).code, Some(0));
    }
}

#[test]
fn unknown_names_are_answered_with_the_nearest() {
    let broker = Fixture::start();
    broker.text(&["topic", "create", "orders", "payments"]);
    for arguments in [
        &["topic", "describe", "ordres"][..],
        &["topic", "delete", "ordres"],
        &["topic", "config", "ordres"],
        &["topic", "config", "ordres", "--set", "retention.ms=1"],
        &["topic", "partitions", "ordres", "3"],
    ] {
        let ran = broker.run(arguments);
        assert_eq!(ran.code, Some(1), "{arguments:?}");
        let wanted = "rivven: there is no topic \"ordres\"; did you mean \"orders\"?\n";
        assert_eq!(ran.err, wanted, "{arguments:?}");
    }
    let ran = broker.run(&["topic", "describe", "zebra", "orders", "--json"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("`rivven topic list` shows all"), "{}", ran.err);
    let document: serde_json::Value = serde_json::from_str(&ran.out).expect("one document");
    assert_eq!(document["topics"][0]["topic"], "orders");
    assert_eq!(document["topics"][1]["error"]["name"], "UNKNOWN_TOPIC_OR_PARTITION");
}

#[test]
fn wrong_arguments_end_with_2_before_anybody_is_asked() {
    for (arguments, wanted) in [
        (&["topic", "create", "a b"][..], "ASCII alphanumerics"),
        (&["topic", "create", ".."], "is not allowed"),
        (&["topic", "create", "t", "-p", "0"], "0 is not in 1.."),
        (&["topic", "create", "t", "--config", "retention"], "write name=value"),
        (&["topic", "config", "t", "--set", "a=1", "--unset", "a"], "named twice"),
        (&["topic", "list", "--timeout", "soon"], "write 500ms, 90s"),
        (&["topic", "list", "--brokers", "http://x"], "it is a URL"),
        (&["topic", "list", "--brokers", ","], "no broker is named"),
        (&["topic", "lst"], "similar subcommand"),
        (&["ping", "--count", "0"], "0 is not in 1.."),
    ] {
        let ran = run("127.0.0.1:1", arguments);
        assert_eq!(ran.code, Some(2), "{arguments:?}: {}", ran.err);
        assert!(ran.err.contains(wanted), "{arguments:?}: {}", ran.err);
    }
    for arguments in [
        &["topic", "create"][..],
        &["produce", "orders"],
        &["produce", "orders", "x", "--key"],
        &["produce", "orders", "x", "--header"],
        &["consume", "orders", "--group"],
        &["topic", "list", "--brokers"],
    ] {
        let mut command = command("127.0.0.1:1", arguments);
        let output = command.arg(OsStr::from_bytes(b"a=\xff")).output();
        let ran = ran(output.expect("it runs"));
        assert_eq!(ran.code, Some(2), "{arguments:?}");
        assert!(ran.err.contains("invalid UTF-8"), "{arguments:?}: {}", ran.err);
    }
}

#[test]
fn a_closed_pipe_is_no_failure() {
    let broker = Fixture::start();
    broker.text(&["topic", "create", "orders"]);
    broker.text(&["produce", "orders", "x"]);
    let address = broker.client.config().bootstrap[0].clone();
    for arguments in [
        &["topic", "list"][..],
        &["topic", "list", "--json"],
        &["ping", "-i", "9ms"],
        &["produce", "orders", "x"],
        &["consume", "orders"],
        &["bench", "consume", "orders"],
        &["bench", "produce", "orders", "-d", "50ms"],
    ] {
        let mut command = command(&address, arguments);
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
        drop(child.stdout.take());
        let ran = ran(child.wait_with_output().expect("it ends"));
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{arguments:?}");
    }
}

#[test]
fn an_interrupt_ends_with_130() {
    static ASKED: std::sync::Mutex<bool> = std::sync::Mutex::new(false);
    static CHANGED: std::sync::Condvar = std::sync::Condvar::new();
    let silent = listener(|stream| {
        std::mem::forget(stream);
        *ASKED.lock().expect("whole") = true;
        CHANGED.notify_all();
    });
    // Nothing is begun yet that could be finished, so one signal is enough for each.
    for arguments in [
        &["topic", "delete", "orders"][..],
        &["produce", "orders", "x"],
        &["consume", "orders", "-f", "-g", "readers"],
        &["bench", "produce", "orders"],
        &["ping"],
    ] {
        *ASKED.lock().expect("whole") = false;
        let mut command = command(&silent.to_string(), arguments);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
        let asked = CHANGED.wait_while(ASKED.lock().expect("whole"), |asked| !*asked);
        assert!(*asked.expect("whole"));
        interrupt(&child);
        let ran = ran(child.wait_with_output().expect("it ends"));
        assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (Some(130), "", ""));
    }
}
