//! A record batch as text and as JSON, with its records if they are asked for.

use std::borrow::Cow;

use rivven_core::limits::BATCH_DECOMPRESSED_BYTES_MAX;
use rivven_core::record::compression::Codec;
use rivven_core::record::header::{BatchHeader, HEADER_BYTES, TimestampType};
use rivven_core::record::records::{Record, Records};
use serde_json::{Map, Value, json};

use crate::format::put_bytes;
use crate::output::{Output, shown};

/// Header fields of a batch whose CRC was looked at.
pub(super) fn header_json(header: &BatchHeader, is_crc_right: bool) -> Value {
    json!({
        "base_offset": header.base_offset.0,
        "last_offset": header.last_offset().0,
        "records": header.count,
        "bytes": header.size(),
        "codec": codec_name(header),
        "crc": format!("{:08x}", header.crc),
        "crc_ok": is_crc_right,
        "leader_epoch": header.leader_epoch.0,
        "producer_id": header.producer_id.0,
        "producer_epoch": header.producer_epoch,
        "base_sequence": header.base_sequence,
        "base_timestamp": header.base_timestamp.0,
        "max_timestamp": header.max_timestamp.0,
        "timestamp_type": timestamp_type(header),
        "transactional": header.is_transactional(),
        "control": header.is_control(),
    })
}

pub(super) fn header_text(header: &BatchHeader, is_crc_right: bool) -> String {
    let mut text = format!(
        "offsets {}..={} records {} bytes {} codec {} crc {:08x} {} epoch {} time {}..={} {}",
        header.base_offset,
        header.last_offset(),
        header.count,
        header.size(),
        codec_name(header),
        header.crc,
        if is_crc_right { "ok" } else { "WRONG" },
        header.leader_epoch.0,
        header.base_timestamp.0,
        header.max_timestamp.0,
        timestamp_type(header),
    );
    if header.producer_id.0 >= 0 {
        let (id, epoch) = (header.producer_id.0, header.producer_epoch);
        text += &format!(" producer {id} epoch {epoch} sequence {}", header.base_sequence);
    }
    if header.is_transactional() {
        text += " transactional";
    }
    if header.is_control() {
        text += " control";
    }
    text
}

fn timestamp_type(header: &BatchHeader) -> &'static str {
    match header.timestamp_type() {
        TimestampType::CreateTime => "create",
        TimestampType::LogAppendTime => "append",
    }
}

fn codec_name(header: &BatchHeader) -> &'static str {
    match Codec::from_bits(header.codec_bits()) {
        Some(Codec::None) => "none",
        Some(Codec::Gzip) => "gzip",
        Some(Codec::Snappy) => "snappy",
        Some(Codec::Lz4) => "lz4",
        Some(Codec::Zstd) => "zstd",
        None => "undefined",
    }
}

/// Prints the records of a whole batch. The inner error says why they cannot be read.
pub(super) fn records(
    output: &mut Output<'_>,
    header: &BatchHeader,
    batch: &[u8],
) -> std::io::Result<Result<(), String>> {
    let body = match unpacked(header, &batch[HEADER_BYTES..]) {
        Ok(body) => body,
        Err(reason) => return Ok(Err(reason)),
    };
    for record in Records::new(header, &body) {
        match record {
            Ok(record) => output.item(
                || record_json(header, &record),
                || format!("    {}", record_text(header, &record)),
            )?,
            Err(error) => return Ok(Err(error.to_string())),
        }
    }
    Ok(Ok(()))
}

fn unpacked<'a>(header: &BatchHeader, body: &'a [u8]) -> Result<Cow<'a, [u8]>, String> {
    match Codec::from_bits(header.codec_bits()) {
        None => Err(format!("the codec {} is undefined", header.codec_bits())),
        Some(Codec::None) => Ok(Cow::Borrowed(body)),
        Some(codec) => codec
            .decompress(body, BATCH_DECOMPRESSED_BYTES_MAX)
            .map(Cow::Owned)
            .map_err(|error| error.to_string()),
    }
}

fn offset(header: &BatchHeader, record: &Record<'_>) -> i64 {
    header.base_offset.0.saturating_add(i64::from(record.offset_delta))
}

fn record_json(header: &BatchHeader, record: &Record<'_>) -> Value {
    let headers = record.headers.map(|header| {
        let mut row = Map::new();
        put_bytes(&mut row, "key", Some(header.key));
        put_bytes(&mut row, "value", header.value);
        Value::Object(row)
    });
    let mut row = Map::from_iter([
        ("kind".to_owned(), json!("record")),
        ("offset".to_owned(), json!(offset(header, record))),
        ("timestamp".to_owned(), json!(record.timestamp.0)),
        ("key_bytes".to_owned(), json!(record.key.map(<[u8]>::len))),
        ("value_bytes".to_owned(), json!(record.value.map(<[u8]>::len))),
        ("headers".to_owned(), json!(headers.collect::<Vec<_>>())),
    ]);
    put_bytes(&mut row, "key", record.key);
    put_bytes(&mut row, "value", record.value);
    Value::Object(row)
}

fn record_text(header: &BatchHeader, record: &Record<'_>) -> String {
    let mut text = format!(
        "{} time {} key {} value {}",
        offset(header, record),
        record.timestamp.0,
        shown(record.key),
        shown(record.value)
    );
    for header in record.headers {
        text += &format!(" {}={}", shown(Some(header.key)), shown(header.value));
    }
    text
}
