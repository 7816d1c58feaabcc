//! Values of settings as they stand in text.

use std::net::SocketAddr;

use rivven_core::storage::options::SyncPolicy;

use super::{Address, LogFormat};

pub(super) fn number<T: TryFrom<i64>>(text: &str, min: i64, max: i64) -> Result<T, String> {
    let number: i64 = text.parse().map_err(|_| "not a whole number".to_owned())?;
    if !(min..=max).contains(&number) {
        return Err(format!("not within {min} to {max}"));
    }
    T::try_from(number).map_err(|_| "too large for this machine".to_owned())
}

pub(super) fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("neither true nor false".to_owned()),
    }
}

pub(super) fn socket(text: &str) -> Result<SocketAddr, String> {
    let text = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => text.to_owned(),
    };
    text.parse().map_err(|_| "not an address like 127.0.0.1:9092 or [::1]:9092".to_owned())
}

pub(super) fn addresses(text: &str) -> Result<Vec<SocketAddr>, String> {
    let mut all = Vec::new();
    for part in text.split(',') {
        let addr = socket(part.trim())?;
        if addr.port() != 0 && all.contains(&addr) {
            return Err(format!("{addr} is given twice"));
        }
        all.push(addr);
    }
    Ok(all)
}

/// Host and port; an IPv6 address stands in brackets.
pub(super) fn address(text: &str) -> Result<Address, String> {
    let wrong = || "not a host and port like broker.example:9092".to_owned();
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(wrong)?;
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host = bracketed.unwrap_or(host);
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    let has_colon = host.contains(':');
    if host.is_empty()
        || host.len() > 255
        || !host.chars().all(is_plain)
        || has_colon != bracketed.is_some()
    {
        return Err(wrong());
    }
    Ok(Address { host: host.to_owned(), port })
}

/// `every_write`, `every_n_writes(N)`, `none`, in any case and with or without `_`.
pub(super) fn sync_policy(text: &str) -> Result<SyncPolicy, String> {
    let plain: String =
        text.chars().filter(|c| !matches!(c, '_' | '-' | ' ')).collect::<String>().to_lowercase();
    match plain.as_str() {
        "everywrite" => return Ok(SyncPolicy::EveryWrite),
        "none" => return Ok(SyncPolicy::None),
        _ => {}
    }
    let writes = plain.strip_prefix("everynwrites(").and_then(|rest| rest.strip_suffix(')'));
    let writes = writes.ok_or("none of every_write, every_n_writes(N), none")?;
    number(writes, 1, i64::from(u32::MAX)).map(SyncPolicy::EveryNWrites)
}

pub(super) fn sync_text(policy: SyncPolicy) -> String {
    match policy {
        SyncPolicy::EveryWrite => "every_write".to_owned(),
        SyncPolicy::EveryNWrites(writes) => format!("every_n_writes({writes})"),
        SyncPolicy::None => "none".to_owned(),
    }
}

pub(super) fn level(text: &str) -> Result<String, String> {
    match text.parse::<tracing_subscriber::EnvFilter>() {
        Ok(_) if !text.is_empty() => Ok(text.to_owned()),
        _ => Err("not a level such as info, or a filter such as rivven_core=debug,info".to_owned()),
    }
}

pub(super) fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("neither text nor json".to_owned()),
    }
}

pub(super) fn log_format_text(format: LogFormat) -> &'static str {
    match format {
        LogFormat::Text => "text",
        LogFormat::Json => "json",
    }
}
