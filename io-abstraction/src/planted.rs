//! Planted bugs: realistic mistakes that the simulator can switch on to prove that it finds them.
//! Compiled only under `sim`; without it each switch is the constant `false`.

/// Whether the planted bug named `$id` is on in this process.
#[macro_export]
macro_rules! planted {
    ($id:literal) => {
        $crate::planted::is_on($id)
    };
}

#[cfg(feature = "sim")]
static ON: std::sync::OnceLock<String> = std::sync::OnceLock::new();

/// Switches one bug on for the life of this process, which runs one seed.
#[cfg(feature = "sim")]
pub fn switch_on(id: &str) {
    ON.set(id.to_owned()).expect("at most one planted bug is on in a process");
}

#[cfg(feature = "sim")]
#[doc(hidden)]
pub fn is_on(id: &str) -> bool {
    ON.get().is_some_and(|on| on == id)
}

#[cfg(not(feature = "sim"))]
#[doc(hidden)]
#[inline(always)]
#[must_use]
pub const fn is_on(_id: &str) -> bool {
    false
}
