//! How many files and sockets the process may hold open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// macOS refuses a soft limit above this, whatever the hard one says (`OPEN_MAX`).
#[cfg(target_os = "macos")]
const MOST: u64 = 10_240;
#[cfg(not(target_os = "macos"))]
const MOST: u64 = 1 << 20;

/// Raises the process's own limit to what its starter allows; the limit that holds then.
pub(crate) fn raise_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.unwrap_or(MOST).min(MOST);
    let current = limit.current.unwrap_or(MOST);
    if current >= wanted {
        return current;
    }
    let raised = Rlimit { current: Some(wanted), maximum: limit.maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => wanted,
        Err(_) => current,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_limit_that_holds_is_the_one_that_is_told() {
        let told = super::raise_limit();
        let holds = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        assert_eq!(holds.current.unwrap_or(super::MOST), told);
        assert_eq!(super::raise_limit(), told, "there is nothing left to raise");
    }
}
