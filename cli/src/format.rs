//! How a record is printed: its value, JSON, or a template as kcat has them.

use std::fmt::Write as _;
use std::str::FromStr;

use bytes::Bytes;
use serde_json::{Map, Value, json};

/// What is printed of a record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shown<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    /// Milliseconds since 1970.
    pub(crate) timestamp: i64,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) headers: &'a [(String, Option<Bytes>)],
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// The value and an end of line.
    Text,
    /// One object a line.
    Json,
    Template(Vec<Part>),
}

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Literal(Vec<u8>),
    Topic,
    Partition,
    Offset,
    Timestamp,
    Key,
    KeyLen,
    Value,
    ValueLen,
    Headers,
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Format, String> {
        match text {
            "text" => Ok(Format::Text),
            "json" => Ok(Format::Json),
            _ if text.contains(['%', '\\']) => Ok(Format::Template(template(text)?)),
            _ => Err("write text, json, or a template such as '%t %p %o %k %v\\n'".to_owned()),
        }
    }
}

fn template(text: &str) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut literal = Vec::new();
    let mut rest = text.chars();
    while let Some(character) = rest.next() {
        let part = match character {
            '%' => match rest.next() {
                Some('%') => {
                    literal.push(b'%');
                    continue;
                }
                Some(letter) => placeholder(letter)?,
                None => return Err("a % stands at the end; %% is a percent sign".to_owned()),
            },
            '\\' => {
                literal.push(escape(&mut rest)?);
                continue;
            }
            _ => {
                literal.extend(character.encode_utf8(&mut [0; 4]).bytes());
                continue;
            }
        };
        if !literal.is_empty() {
            parts.push(Part::Literal(std::mem::take(&mut literal)));
        }
        parts.push(part);
    }
    if !literal.is_empty() {
        parts.push(Part::Literal(literal));
    }
    Ok(parts)
}

fn placeholder(letter: char) -> Result<Part, String> {
    Ok(match letter {
        't' => Part::Topic,
        'p' => Part::Partition,
        'o' => Part::Offset,
        'T' => Part::Timestamp,
        'k' => Part::Key,
        'K' => Part::KeyLen,
        'v' | 's' => Part::Value,
        'V' | 'S' => Part::ValueLen,
        'h' => Part::Headers,
        other => {
            return Err(format!(
                "%{other} stands for nothing; there are %t %p %o %T %k %K %v %V %h and %%"
            ));
        }
    })
}

fn escape(rest: &mut std::str::Chars<'_>) -> Result<u8, String> {
    match rest.next() {
        Some('n') => Ok(b'\n'),
        Some('r') => Ok(b'\r'),
        Some('t') => Ok(b'\t'),
        Some('0') => Ok(0),
        Some('\\') => Ok(b'\\'),
        Some('x') => {
            let digits: String = rest.by_ref().take(2).collect();
            let is_whole =
                digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
            let byte = u8::from_str_radix(&digits, 16).ok().filter(|_| is_whole);
            byte.ok_or_else(|| "\\x needs two hex digits".to_owned())
        }
        _ => Err("there are \\n \\r \\t \\0 \\xHH and \\\\".to_owned()),
    }
}

impl Format {
    /// Appends a record.
    pub(crate) fn write(&self, record: Shown<'_>, out: &mut Vec<u8>) {
        match self {
            Format::Text => {
                out.extend_from_slice(record.value.unwrap_or_default());
                out.push(b'\n');
            }
            Format::Json => {
                out.extend_from_slice(document(record).to_string().as_bytes());
                out.push(b'\n');
            }
            Format::Template(parts) => {
                parts.iter().for_each(|part| part.write(record, out));
            }
        }
    }
}

impl Part {
    fn write(&self, record: Shown<'_>, out: &mut Vec<u8>) {
        let mut number = |number: i64| out.extend_from_slice(number.to_string().as_bytes());
        // As kcat has it, -1 is the length of what is not there.
        let len = |bytes: Option<&[u8]>| {
            bytes.map_or(-1, |bytes| i64::try_from(bytes.len()).unwrap_or(i64::MAX))
        };
        match self {
            Part::Partition => number(record.partition.into()),
            Part::Offset => number(record.offset),
            Part::Timestamp => number(record.timestamp),
            Part::KeyLen => number(len(record.key)),
            Part::ValueLen => number(len(record.value)),
            Part::Literal(bytes) => out.extend_from_slice(bytes),
            Part::Topic => out.extend_from_slice(record.topic.as_bytes()),
            Part::Key => out.extend_from_slice(record.key.unwrap_or_default()),
            Part::Value => out.extend_from_slice(record.value.unwrap_or_default()),
            Part::Headers => {
                for (index, (name, value)) in record.headers.iter().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    out.extend_from_slice(name.as_bytes());
                    out.push(b'=');
                    out.extend_from_slice(value.as_deref().unwrap_or(b"NULL"));
                }
            }
        }
    }
}

fn document(record: Shown<'_>) -> Value {
    let headers = record.headers.iter().map(|(name, value)| {
        let mut header = Map::from_iter([("name".to_owned(), json!(name))]);
        put_bytes(&mut header, "value", value.as_deref());
        Value::Object(header)
    });
    let headers: Vec<Value> = headers.collect();
    let mut document = Map::from_iter([
        ("topic".to_owned(), json!(record.topic)),
        ("partition".to_owned(), json!(record.partition)),
        ("offset".to_owned(), json!(record.offset)),
        ("timestamp".to_owned(), json!(record.timestamp)),
        ("headers".to_owned(), json!(headers)),
    ]);
    put_bytes(&mut document, "key", record.key);
    put_bytes(&mut document, "value", record.value);
    Value::Object(document)
}

/// Bytes that are no text stand in base64 under another name, so that nothing is lost.
pub(crate) fn put_bytes(map: &mut Map<String, Value>, name: &str, bytes: Option<&[u8]>) {
    let text = bytes.map(std::str::from_utf8);
    match (bytes, text) {
        (Some(bytes), Some(Err(_))) => {
            map.insert(format!("{name}_base64"), json!(base64(bytes)));
        }
        (_, text) => {
            map.insert(name.to_owned(), json!(text.and_then(Result::ok)));
        }
    }
}

/// RFC 4648, with padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let byte = |index: usize| u32::from(three.get(index).copied().unwrap_or_default());
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let index = (bits >> (18 - 6 * digit)) as usize & 63;
            let _ = match digit <= three.len() {
                true => text.write_char(char::from(DIGITS[index])),
                false => text.write_char('='),
            };
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(format: &str, headers: &[(String, Option<Bytes>)], value: Option<&[u8]>) -> String {
        let record = Shown {
            topic: "orders",
            partition: 3,
            offset: 4711,
            timestamp: 1_700_000_000_000,
            key: Some(b"key"),
            value,
            headers,
        };
        let mut out = Vec::new();
        format.parse::<Format>().expect("a format").write(record, &mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn formats_print_what_they_say() {
        let headers = [("a".to_owned(), Some(Bytes::from_static(b"1"))), ("b".to_owned(), None)];
        for (format, wanted) in [
            ("text", "value\n"),
            ("%t %p %o %k %v %h\\n", "orders 3 4711 key value a=1,b=NULL\n"),
            ("%T|%K|%V|%S|%s", "1700000000000|3|5|5|value"),
            ("%%é\\t\\x41\\\\\\0", "%é\tA\\\0"),
        ] {
            assert_eq!(shown(format, &headers, Some(b"value")), wanted, "{format}");
        }
        assert_eq!(shown("%v|%V", &[], None), "|-1");
        assert_eq!(shown("text", &[], None), "\n");
    }

    #[test]
    fn json_loses_no_byte() {
        let headers = [("h".to_owned(), Some(Bytes::from_static(b"\xff\xfe")))];
        let line = shown("json", &headers, Some(b"\xff"));
        let document: Value = serde_json::from_str(&line).expect("an object");
        assert_eq!(document["key"], "key");
        assert_eq!((&document["value"], &document["value_base64"]), (&Value::Null, &json!("/w==")));
        assert_eq!(document["headers"][0]["value_base64"], "//4=");
        let tombstone: Value = serde_json::from_str(&shown("json", &[], None)).expect("an object");
        assert!(tombstone.as_object().expect("an object").contains_key("value"));
        for (bytes, wanted) in [
            (&b""[..], ""),
            (b"f", "Zg=="),
            (b"fo", "Zm8="),
            (b"foo", "Zm9v"),
            (b"foob", "Zm9vYg=="),
        ] {
            assert_eq!(base64(bytes), wanted);
        }
    }

    #[test]
    fn what_is_no_format_is_refused() {
        for (text, wanted) in [
            ("xml", "a template such as"),
            ("", "a template such as"),
            ("%q", "%q stands for nothing"),
            ("50%", "at the end"),
            ("\\q", "\\xHH"),
            ("\\x4", "two hex digits"),
            ("\\x+4", "two hex digits"),
            ("\\xzz", "two hex digits"),
        ] {
            let error = text.parse::<Format>().expect_err("refused");
            assert!(error.contains(wanted), "{text}: {error}");
        }
    }
}
