//! Unpacks the body of a compressed batch, for searches by timestamp, the cleaner and readers that
//! cannot, and packs what the cleaner leaves of it. Unpacking stops at the caller's limit, so that
//! a small batch cannot fill the memory. What the codecs do wrong ends neither task nor data: a
//! panic becomes an error, and what they packed is read back.

use std::io::{Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::limits::ZSTD_WINDOW_BYTES_MAX;

/// How the records of a batch are packed: attribute bits 0 to 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Codec {
    None,
    Gzip,
    /// Raw, or in the xerial framing that Java clients use.
    Snappy,
    /// LZ4 frame format.
    Lz4,
    Zstd,
}

/// Why a batch body was not unpacked.
#[derive(Debug, thiserror::Error)]
pub enum DecompressError {
    #[error("the records unpack to more than {limit} bytes")]
    TooLarge { limit: usize },
    #[error("the records are no {codec:?} data: {reason}")]
    Corrupt { codec: Codec, reason: String },
    #[error("{bytes} bytes behind the last frame are no frame")]
    Stuck { bytes: usize },
}

impl Codec {
    /// The codec of attribute bits 0 to 2; 5 to 7 are undefined.
    #[must_use]
    pub fn from_bits(bits: i16) -> Option<Codec> {
        match bits {
            0 => Some(Codec::None),
            1 => Some(Codec::Gzip),
            2 => Some(Codec::Snappy),
            3 => Some(Codec::Lz4),
            4 => Some(Codec::Zstd),
            _ => None,
        }
    }

    /// Attribute bits 0 to 2.
    #[must_use]
    pub fn bits(self) -> i16 {
        match self {
            Codec::None => 0,
            Codec::Gzip => 1,
            Codec::Snappy => 2,
            Codec::Lz4 => 3,
            Codec::Zstd => 4,
        }
    }

    /// Unpacks a batch body.
    ///
    /// # Errors
    /// [`DecompressError::TooLarge`] when it would be more than `limit` bytes (beyond the limit
    /// only one block, and for zstd a window of [`ZSTD_WINDOW_BYTES_MAX`], is allocated),
    /// [`DecompressError::Corrupt`] when `body` is not
    /// what the codec writes.
    pub fn decompress(self, body: &[u8], limit: usize) -> Result<Vec<u8>, DecompressError> {
        let unpacked = contained(|| match self {
            Codec::None => read_bounded(self, body, limit),
            Codec::Gzip => read_bounded(self, flate2::read::MultiGzDecoder::new(body), limit),
            Codec::Snappy => decompress_snappy(body, limit),
            Codec::Lz4 => decompress_frames(body, limit, read_lz4_frame),
            Codec::Zstd => decompress_frames(body, limit, read_zstd_frame),
        });
        let unpacked = unpacked.unwrap_or_else(|| Err(corrupt(self, "the decoder panicked")))?;
        assert!(unpacked.len() <= limit, "{} bytes are above the limit {limit}", unpacked.len());
        Ok(unpacked)
    }

    /// Packs a batch body, so that every client can read it, and reads it back: its source may be
    /// removed. The codec is `self`, or none if that cannot be trusted with the body.
    #[must_use]
    pub fn compress(self, body: &[u8]) -> (Codec, Vec<u8>) {
        let encoders: &[Encoder] = match self {
            Codec::None => &[],
            Codec::Gzip => &[gzip],
            Codec::Snappy => &[xerial],
            Codec::Lz4 => &[lz4],
            Codec::Zstd => &[zstd, zstd_stored],
        };
        let packed = encoders.iter().find_map(|encode| self.packed_soundly(*encode, body));
        packed.map_or_else(|| (Codec::None, body.to_vec()), |packed| (self, packed))
    }

    /// What the encoder makes of the body, if that unpacks to the body.
    fn packed_soundly(self, encode: Encoder, body: &[u8]) -> Option<Vec<u8>> {
        let packed = contained(|| encode(body));
        let packed = packed.filter(|packed| {
            self.decompress(packed, body.len()).is_ok_and(|unpacked| unpacked == body)
        });
        if packed.is_none() {
            rivven_io::probe!("packed_unsoundly");
            tracing::warn!(codec = ?self, bytes = body.len(), "a batch was packed wrongly");
        }
        packed
    }
}

/// What a codec gives, which is code of others; `None` if it panics.
fn contained<T>(work: impl FnOnce() -> T) -> Option<T> {
    // Nothing outlives it but what it returns.
    catch_unwind(AssertUnwindSafe(work)).ok()
}

type Encoder = fn(&[u8]) -> Vec<u8>;

fn zstd(body: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(body, ruzstd::encoding::CompressionLevel::Fastest)
}

/// Frames without compression, with which little can go wrong.
fn zstd_stored(body: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(body, ruzstd::encoding::CompressionLevel::Uncompressed)
}

const IN_MEMORY: &str = "a write into memory does not fail";

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    out.write_all(body).expect(IN_MEMORY);
    out.finish().expect(IN_MEMORY)
}

/// Independent blocks, as Java clients want them.
fn lz4(body: &[u8]) -> Vec<u8> {
    let mut out = lz4_flex::frame::FrameEncoder::new(Vec::new());
    out.write_all(body).expect(IN_MEMORY);
    out.finish().expect(IN_MEMORY)
}

/// Java clients read no other snappy.
fn xerial(body: &[u8]) -> Vec<u8> {
    let mut out = XERIAL_MAGIC.to_vec();
    // Version and oldest version that can read it.
    out.extend([0, 0, 0, 1, 0, 0, 0, 1]);
    for chunk in body.chunks(XERIAL_BLOCK_BYTES) {
        let block = snap::raw::Encoder::new().compress_vec(chunk).expect("a block is small");
        let length = u32::try_from(block.len()).expect("a block is small");
        out.extend(length.to_be_bytes());
        out.extend(block);
    }
    out
}

fn corrupt(codec: Codec, reason: impl ToString) -> DecompressError {
    DecompressError::Corrupt { codec, reason: reason.to_string() }
}

fn read_bounded(codec: Codec, reader: impl Read, limit: usize) -> Result<Vec<u8>, DecompressError> {
    let mut out = Vec::new();
    // One byte more than allowed tells a full buffer from an overfull one.
    let mut bounded = reader.take(limit as u64 + 1);
    bounded.read_to_end(&mut out).map_err(|error| corrupt(codec, error))?;
    if out.len() > limit { Err(DecompressError::TooLarge { limit }) } else { Ok(out) }
}

fn read_zstd_frame(body: &mut &[u8], limit: usize) -> Result<Vec<u8>, DecompressError> {
    let window_bytes_max = ZSTD_WINDOW_BYTES_MAX;
    ruzstd::decoding::StreamingDecoder::new_with_max_window_size(body, window_bytes_max)
        .map_err(|error| corrupt(Codec::Zstd, error))
        .and_then(|frame| read_bounded(Codec::Zstd, frame, limit))
}

fn read_lz4_frame(body: &mut &[u8], limit: usize) -> Result<Vec<u8>, DecompressError> {
    read_bounded(Codec::Lz4, lz4_flex::frame::FrameDecoder::new(body), limit)
}

/// Both decoders stop behind a frame, but another may follow.
fn decompress_frames(
    mut body: &[u8],
    limit: usize,
    read_frame: fn(&mut &[u8], usize) -> Result<Vec<u8>, DecompressError>,
) -> Result<Vec<u8>, DecompressError> {
    let mut out = read_frame(&mut body, limit)?;
    while !body.is_empty() {
        let before = body.len();
        let room = limit - out.len();
        let unpacked = read_frame(&mut body, room).map_err(|error| match error {
            DecompressError::TooLarge { .. } => DecompressError::TooLarge { limit },
            other => other,
        })?;
        out.extend_from_slice(&unpacked);
        if body.len() == before {
            // Read again, it would be read for ever.
            return Err(DecompressError::Stuck { bytes: before });
        }
    }
    Ok(out)
}

/// Magic of the xerial framing; version and compatible version (two i32) follow, then blocks of
/// an i32 length and raw snappy.
const XERIAL_MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const XERIAL_VERSIONS_BYTES: usize = 8;
/// Bytes that one block packs.
const XERIAL_BLOCK_BYTES: usize = 32 << 10;

fn decompress_snappy(body: &[u8], limit: usize) -> Result<Vec<u8>, DecompressError> {
    let mut out = Vec::new();
    let Some(framed) = body.strip_prefix(&XERIAL_MAGIC) else {
        append_snappy_block(&mut out, body, limit)?;
        return Ok(out);
    };
    let cut_off = || corrupt(Codec::Snappy, "the xerial framing is cut off");
    let mut blocks = framed.get(XERIAL_VERSIONS_BYTES..).ok_or_else(cut_off)?;
    while !blocks.is_empty() {
        let (length, rest) = blocks.split_first_chunk::<4>().ok_or_else(cut_off)?;
        let length = usize::try_from(i32::from_be_bytes(*length)).map_err(|_| cut_off())?;
        let (block, rest) = rest.split_at_checked(length).ok_or_else(cut_off)?;
        append_snappy_block(&mut out, block, limit)?;
        blocks = rest;
    }
    Ok(out)
}

fn append_snappy_block(
    out: &mut Vec<u8>,
    block: &[u8],
    limit: usize,
) -> Result<(), DecompressError> {
    let length = snap::raw::decompress_len(block).map_err(|e| corrupt(Codec::Snappy, e))?;
    let start = out.len();
    if length > limit - start {
        return Err(DecompressError::TooLarge { limit });
    }
    // A snappy element of 2 bytes or more yields at most 64; a block that announces more than
    // that is refused before its announced length is allocated.
    if length > block.len().saturating_mul(64) {
        return Err(corrupt(Codec::Snappy, "the announced length cannot be reached"));
    }
    out.resize(start + length, 0);
    let written = snap::raw::Decoder::new()
        .decompress(block, &mut out[start..])
        .map_err(|error| corrupt(Codec::Snappy, error))?;
    assert_eq!(written, length, "snappy wrote another length than it announced");
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn snappy_raw(data: &[u8]) -> Vec<u8> {
        snap::raw::Encoder::new().compress_vec(data).unwrap()
    }

    pub(crate) const ENCODERS: [(Codec, Encoder); 7] = [
        (Codec::None, <[u8]>::to_vec),
        (Codec::Gzip, gzip),
        (Codec::Snappy, snappy_raw),
        (Codec::Snappy, xerial),
        (Codec::Lz4, lz4),
        (Codec::Zstd, zstd),
        (Codec::Zstd, zstd_stored),
    ];

    proptest! {
        #[test]
        fn every_codec_round_trips_up_to_its_limit(
            data in vec(0u8..4, 1..5000),
            flip in any::<(usize, u8)>(),
        ) {
            for (codec, encode) in ENCODERS {
                let mut packed = encode(&data);
                let unpacked = codec.decompress(&packed, data.len());
                prop_assert_eq!(unpacked.unwrap(), &data[..], "{:?}", codec);
                let too_large = codec.decompress(&packed, data.len() - 1);
                let refused = matches!(too_large, Err(DecompressError::TooLarge { .. }));
                prop_assert!(refused, "{:?}", codec);
                let position = flip.0 % packed.len();
                packed[position] ^= flip.1;
                if let Ok(other) = codec.decompress(&packed, 10_000) {
                    prop_assert!(other.len() <= 10_000);
                }
                packed.truncate(position);
                if let Ok(other) = codec.decompress(&packed, 10_000) {
                    prop_assert!(other.len() <= 10_000);
                }
            }
        }

        #[test]
        fn random_bytes_never_panic(data in vec(any::<u8>(), 0..200)) {
            for (codec, encode) in ENCODERS {
                let behind_a_frame = [&encode(&[7; 50])[..], &data].concat();
                if let Ok(unpacked) = codec.decompress(&behind_a_frame, 1000) {
                    prop_assert!(unpacked.len() <= 1000);
                }
                if let Ok(unpacked) = codec.decompress(&data, 1000) {
                    prop_assert!(unpacked.len() <= 1000);
                }
            }
        }
    }

    #[test]
    fn an_encoder_that_errs_or_panics_is_not_believed() {
        let body = b"records".repeat(20);
        let lossy: Encoder = |body| zstd(&body[1..]);
        let longer: Encoder = |body| zstd(&[body, &[0]].concat());
        let garbage: Encoder = |_| vec![0x28, 0xb5, 0x2f, 0xfd, 0xff];
        let panics: Encoder = |body| panic!("{} bytes", body.len());
        for encode in [lossy, longer, garbage, panics] {
            assert_eq!(Codec::Zstd.packed_soundly(encode, &body), None);
        }
        assert_eq!(Codec::Zstd.packed_soundly(zstd_stored, &body), Some(zstd_stored(&body)));
        for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
            let (used, packed) = codec.compress(&body);
            assert_eq!(used, codec);
            assert_eq!(codec.decompress(&packed, body.len()).unwrap(), body);
        }
    }

    #[test]
    fn a_bomb_is_refused_at_the_limit() {
        for (codec, encode) in ENCODERS {
            let bomb = encode(&vec![0; 4 << 20]);
            let refused = codec.decompress(&bomb, 1 << 20);
            assert!(refused.is_err(), "{codec:?}");
        }
    }

    /// 300 bytes of "rivven " over and over, as the codecs' reference programs pack them.
    const REFERENCE_FRAMES: [(Codec, &str); 6] = [
        (Codec::Zstd, "28b52ffd00587500003872697676656e20010022528b11"),
        (Codec::Zstd, "28b52ffd00887d00004072697676656e2072010021520b17"),
        (Codec::Zstd, "28b52ffd642c007500003872697676656e20010022528b1187c1b8ed"),
        (
            Codec::Lz4,
            "04224d185440ae120000007f72697676656e200700ff0e50697676656e153cbbd0000000004221efe4",
        ),
        (Codec::Lz4, "04224d186440a7120000007f72697676656e200700ff0e50697676656e000000004221efe4"),
        (Codec::Gzip, "1f8b08000000000002032bca2c2b4bcd53281aa508530042d9a8942c010000"),
    ];

    #[test]
    fn frames_of_the_reference_programs_are_read_alone_and_in_a_row() {
        let data: Vec<u8> = b"rivven ".iter().copied().cycle().take(300).collect();
        for (codec, hex) in REFERENCE_FRAMES {
            let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
            let frame: Vec<u8> = (0..hex.len()).step_by(2).map(byte).collect();
            assert_eq!(codec.decompress(&frame, 300).unwrap(), data, "{codec:?}");
            let two = codec.decompress(&[&frame[..], &frame].concat(), 600);
            assert_eq!(two.unwrap(), [&data[..], &data].concat(), "{codec:?}");
        }
    }
}
