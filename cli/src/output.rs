//! Lines for people or for machines.

use std::io::{self, Write};

use serde_json::Value;

/// Bytes of a key or value that are shown.
const SHOWN_BYTES_MAX: usize = 80;

/// Where the result of a command goes.
pub(crate) struct Output<'a> {
    out: &'a mut dyn Write,
    json: bool,
}

impl<'a> Output<'a> {
    pub(crate) fn new(out: &'a mut dyn Write, json: bool) -> Output<'a> {
        Output { out, json }
    }

    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// One thing, as one line of JSON or as text.
    pub(crate) fn item(
        &mut self,
        json: impl FnOnce() -> Value,
        text: impl FnOnce() -> String,
    ) -> io::Result<()> {
        if self.json { writeln!(self.out, "{}", json()) } else { writeln!(self.out, "{}", text()) }
    }

    /// The one document that machines get.
    pub(crate) fn document(&mut self, json: Value) -> io::Result<()> {
        if self.json { writeln!(self.out, "{json}") } else { Ok(()) }
    }

    /// What was written is seen now, not at the end.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    /// A line that machines do not need.
    pub(crate) fn text(&mut self, text: &str) -> io::Result<()> {
        if self.json { Ok(()) } else { writeln!(self.out, "{text}") }
    }
}

/// A key or value on one line: text where it is text, escapes elsewhere, cut when it is long.
pub(crate) fn shown(bytes: Option<&[u8]>) -> String {
    let Some(bytes) = bytes else { return "null".to_owned() };
    let mut cut = &bytes[..bytes.len().min(SHOWN_BYTES_MAX)];
    if let Err(error) = std::str::from_utf8(cut)
        && error.error_len().is_none()
    {
        cut = &cut[..error.valid_up_to()];
    }
    let text = match std::str::from_utf8(cut) {
        Ok(text) => text.escape_debug().to_string(),
        Err(_) => cut.escape_ascii().to_string(),
    };
    match bytes.len() - cut.len() {
        0 => format!("\"{text}\""),
        _ => format!("\"{text}\"… ({} bytes)", bytes.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_values_are_escaped_and_cut() {
        let long = [b'x'; 100];
        let cut_inside = [[b'x'; 79].as_slice(), "é".as_bytes()].concat();
        for (bytes, wanted) in [
            (None, "null".to_owned()),
            (Some(&b""[..]), "\"\"".to_owned()),
            (Some(b"a\n\"b\""), r#""a\n\"b\"""#.to_owned()),
            (Some("é\u{1b}[2J".as_bytes()), "\"é\\u{1b}[2J\"".to_owned()),
            (Some(b"\xff\x00a"), r#""\xff\x00a""#.to_owned()),
            (Some(&long), format!("\"{}\"… (100 bytes)", "x".repeat(80))),
            (Some(&cut_inside), format!("\"{}\"… (81 bytes)", "x".repeat(79))),
        ] {
            assert_eq!(shown(bytes), wanted);
        }
    }
}
