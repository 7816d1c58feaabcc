//! Which build runs: a finding is worth little if nobody knows of what.

use std::sync::OnceLock;

/// The version, the commit that the sources were checked out at (`-dirty` if they were changed
/// since; both only if they were built from a checkout), and a checksum of the running program.
pub(crate) fn build_id() -> &'static str {
    static ID: OnceLock<String> = OnceLock::new();
    ID.get_or_init(|| {
        let commit = option_env!("RIVVEN_SIMULATOR_COMMIT").unwrap_or_default();
        let commit = if commit.is_empty() { String::new() } else { format!("-{commit}") };
        format!("{}{commit}-{}", env!("CARGO_PKG_VERSION"), program())
    })
}

/// The kernel's link leads to the program that runs, also when its file was replaced since.
fn program() -> String {
    let own = std::fs::read("/proc/self/exe");
    let bytes = own.or_else(|_| std::env::current_exe().and_then(std::fs::read));
    match bytes {
        Ok(bytes) => format!("{:08x}", crc32c::crc32c(&bytes)),
        Err(_) => "unknown".to_owned(),
    }
}
