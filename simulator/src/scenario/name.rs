//! Names of scenarios: they become parts of paths, so they hold nothing that a path does.

/// Characters of a name.
const CHARACTERS_MAX: usize = 64;

/// Whether `name` may name a scenario.
///
/// # Errors
/// In words, with the name and what it may be.
pub(crate) fn check(name: &str) -> Result<(), String> {
    let is_fit =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
    if name.bytes().all(is_fit) && (1..=CHARACTERS_MAX).contains(&name.len()) {
        return Ok(());
    }
    Err(format!(
        "{name:?} is not a scenario's name: rename it to 1 to {CHARACTERS_MAX} characters of a-z, \
         0-9, _ and -"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_no_path() {
        let longest = "x".repeat(CHARACTERS_MAX);
        for good in ["power_cuts", "a", "story-2", &longest] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        let longer = "x".repeat(CHARACTERS_MAX + 1);
        for bad in ["", "/tmp/story", "../story", "..", "a/b", "Story", "a b", "ä", "a\n", &longer]
        {
            let error = check(bad).unwrap_err();
            assert!(error.contains(&format!("{bad:?}")) && error.contains("1 to 64"), "{error}");
        }
    }
}
