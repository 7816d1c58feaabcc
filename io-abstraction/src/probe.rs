//! Probes: which rare states a run reached. They cost nothing without `sim`.

/// Notes that the rare state `$name` was reached.
#[macro_export]
macro_rules! probe {
    ($name:literal) => {
        $crate::probe::hit($name)
    };
}

#[cfg(feature = "sim")]
static HITS: std::sync::Mutex<std::collections::BTreeMap<&'static str, u64>> =
    std::sync::Mutex::new(std::collections::BTreeMap::new());

#[cfg(feature = "sim")]
#[doc(hidden)]
pub fn hit(name: &'static str) {
    *HITS.lock().unwrap_or_else(std::sync::PoisonError::into_inner).entry(name).or_default() += 1;
}

/// How often each probe was hit in this process.
#[cfg(feature = "sim")]
pub fn hits() -> std::collections::BTreeMap<&'static str, u64> {
    HITS.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
}

#[cfg(not(feature = "sim"))]
#[doc(hidden)]
#[inline(always)]
pub const fn hit(_name: &'static str) {}
