//! The data directory as a whole: its lock, its identity, and how often it was opened.

use std::path::Path;

use bytes::Bytes;
use rivven_io::Env;
use rivven_io::disk::{Create, Lock, OpenOptions};
use serde::{Deserialize, Serialize};

use crate::storage::error::OpenError;
use crate::storage::layout::{FORMAT_VERSION, Layout};
use crate::storage::options::StorageOptions;

const META_BYTES_MAX: u64 = 64 << 10;

/// What `meta.json` says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// Version of the directory's format.
    pub format: u32,
    pub cluster_id: String,
    pub node_id: i32,
    /// How often the directory was opened for writing; commits of different starts never mix.
    pub starts: u64,
}

/// An open directory.
pub(crate) struct Directory {
    pub(crate) meta: Meta,
    pub(crate) lock: Lock,
}

/// Locks the directory, creating it if it is not there, and counts the start durably.
pub(crate) async fn open(
    env: &Env,
    layout: &Layout,
    options: &StorageOptions,
) -> Result<Directory, OpenError> {
    let unwritable = |error| {
        rivven_io::probe!("directory_not_writable");
        OpenError::NotWritable { path: layout.root.clone(), error }
    };
    env.disk.create_dir_all(&layout.root).await.map_err(unwritable)?;
    refuse_strangers(env, layout).await?;
    let lock = match env.disk.lock(&layout.lock()).await {
        Ok(lock) => lock,
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
            return Err(OpenError::Locked(layout.root.clone()));
        }
        Err(error) => return Err(unwritable(error)),
    };
    let mut meta = match read_meta(env, layout).await? {
        Some(meta) => meta,
        None => fresh_meta(env, options),
    };
    if meta.node_id != options.node_id && !rivven_io::planted!("B98") {
        rivven_io::probe!("foreign_directory_refused");
        return Err(OpenError::Foreign {
            path: layout.root.clone(),
            reason: format!(
                "it belongs to node {}, this is node {}; start with --node-id {}",
                meta.node_id, options.node_id, meta.node_id
            ),
        });
    }
    meta.format = FORMAT_VERSION;
    meta.starts += 1;
    write_meta(env, layout, &meta).await.map_err(unwritable)?;
    if let Some(parent) = layout.root.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        env.disk.sync_dir(parent).await.map_err(unwritable)?;
    }
    Ok(Directory { meta, lock })
}

fn fresh_meta(env: &Env, options: &StorageOptions) -> Meta {
    Meta {
        format: FORMAT_VERSION,
        cluster_id: cluster_id(env.rng.bytes16()),
        node_id: options.node_id,
        starts: 0,
    }
}

/// A directory with files but without `meta.json` is somebody else's.
pub(crate) async fn refuse_strangers(env: &Env, layout: &Layout) -> Result<(), OpenError> {
    let entries = env
        .disk
        .read_dir(&layout.root)
        .await
        .map_err(|error| OpenError::NotWritable { path: layout.root.clone(), error })?;
    let known = |name: &str| name == "meta.json" || name == "meta.json.new" || name == "lock";
    let has_meta = entries.iter().any(|entry| entry.name == "meta.json");
    let stranger = entries.iter().find(|entry| !known(&entry.name) && entry.name != "lost+found");
    match stranger {
        Some(entry) if !has_meta => Err(OpenError::Foreign {
            path: layout.root.clone(),
            reason: format!("it holds {:?} but no meta.json; give an empty directory", entry.name),
        }),
        _ => Ok(()),
    }
}

/// Reads `meta.json`, if there is one.
///
/// # Errors
/// `NewerFormat`, or `Foreign` if it is none of ours.
pub async fn read_meta(env: &Env, layout: &Layout) -> Result<Option<Meta>, OpenError> {
    let path = layout.meta();
    let foreign = |reason: String| OpenError::Foreign { path: path.clone(), reason };
    let bytes = env.read_file(&path, META_BYTES_MAX).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::InvalidData => foreign(error.to_string()),
        _ => OpenError::Io { doing: format!("reading {}", path.display()), error },
    })?;
    let Some(bytes) = bytes else { return Ok(None) };
    #[derive(Deserialize)]
    struct FormatOnly {
        format: u32,
    }
    let version: FormatOnly =
        serde_json::from_slice(&bytes).map_err(|error| foreign(error.to_string()))?;
    if version.format > FORMAT_VERSION {
        return Err(OpenError::NewerFormat {
            path: layout.root.clone(),
            found: version.format,
            known: FORMAT_VERSION,
        });
    }
    serde_json::from_slice(&bytes).map(Some).map_err(|error| foreign(error.to_string()))
}

/// Replaces `meta.json`, so that a crash leaves the old or the new one.
async fn write_meta(env: &Env, layout: &Layout, meta: &Meta) -> std::io::Result<()> {
    let text = serde_json::to_vec_pretty(meta).expect("plain data has a JSON form");
    let temporary = layout.root.join("meta.json.new");
    replace_file(env, (&temporary, &layout.meta()), Bytes::from(text)).await
}

/// Replaces a file through a temporary one, so that a crash leaves the old or the new one; durable,
/// with its name, when it returns.
pub(crate) async fn replace_file(
    env: &Env,
    (temporary, path): (&Path, &Path),
    bytes: Bytes,
) -> std::io::Result<()> {
    let file = env.disk.open(temporary, OpenOptions::write(Create::IfMissing)).await?;
    file.set_len(0).await?;
    file.write_all_at(0, vec![bytes]).await?;
    file.sync_data().await?;
    env.disk.rename(temporary, path).await?;
    let folder = path.parent().expect("the file lies in the data directory");
    env.disk.sync_dir(folder).await
}

/// 22 characters of base64url, as Kafka draws a cluster id.
fn cluster_id(bytes: [u8; 16]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let number = u128::from_be_bytes(bytes);
    (0..22)
        .map(|k| {
            // 22 digits of 6 bits hold 128 bits and 4 zero bits at the end.
            let shift = 128 - 6 * (k + 1);
            let digit = if shift >= 0 { number >> shift } else { number << -shift };
            char::from(DIGITS[(digit & 63) as usize])
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::real_world::run;

    #[test]
    fn a_meta_file_that_is_too_long_or_no_json_is_none_of_ours() {
        run(async |env| {
            let dir = tempfile::tempdir().expect("a temporary directory");
            let layout = Layout { root: dir.path().to_owned() };
            assert!(read_meta(&env, &layout).await.expect("there is none").is_none());
            let too_long = usize::try_from(META_BYTES_MAX).expect("small") + 1;
            for bytes in [too_long, 5] {
                let options = OpenOptions::write(Create::IfMissing);
                let file = env.disk.open(&layout.meta(), options).await.expect("made");
                file.set_len(0).await.expect("emptied");
                file.write_all_at(0, vec![vec![b' '; bytes].into()]).await.expect("written");
                match read_meta(&env, &layout).await {
                    Err(OpenError::Foreign { path, .. }) => assert_eq!(path, layout.meta()),
                    other => panic!("{other:?} of {bytes} bytes"),
                }
            }
        });
    }

    #[test]
    fn a_cluster_id_is_base64url_of_16_bytes() {
        assert_eq!(cluster_id([0; 16]), "AAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!(cluster_id([0xff; 16]), "_____________________w");
        assert_eq!(cluster_id(*b"0123456789abcdef"), "MDEyMzQ1Njc4OWFiY2RlZg");
    }
}
