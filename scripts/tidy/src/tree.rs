//! A checkout as texts in memory.

use std::collections::BTreeMap;
use std::path::Path;
use std::{fs, io};

/// Folders that hold no text of the house: build results, data, and programs on other people's
/// libraries, which are workspaces of their own.
const SKIPPED: [&str; 6] =
    [".git", "target", "data", "node_modules", "bench/peers", "scripts/conformance/released"];

/// Larger files are data (golden files), not text to check.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A file or folder could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {path}")]
pub struct TreeError {
    path: String,
    #[source]
    source: io::Error,
}

/// Texts by path, relative to the root, with slashes.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    pub(crate) files: BTreeMap<String, String>,
}

impl Tree {
    pub(crate) fn load(root: &Path) -> Result<Tree, TreeError> {
        let mut tree = Tree::default();
        tree.load_folder(root, "")?;
        Ok(tree)
    }

    #[cfg(test)]
    pub(crate) fn of(files: &[(&str, &str)]) -> Tree {
        let files = files.iter().map(|(path, text)| (path.to_string(), text.to_string()));
        Tree { files: files.collect() }
    }

    pub(crate) fn rust(&self) -> impl Iterator<Item = (&str, &str)> {
        let all = self.files.iter().map(|(path, text)| (path.as_str(), text.as_str()));
        all.filter(|(path, _)| path.ends_with(".rs"))
    }

    /// Manifests of the members, not of the root.
    pub(crate) fn manifests(&self) -> impl Iterator<Item = (&str, &str)> {
        let all = self.files.iter().map(|(path, text)| (path.as_str(), text.as_str()));
        all.filter(|(path, _)| path.ends_with("/Cargo.toml"))
    }

    fn load_folder(&mut self, root: &Path, folder: &str) -> Result<(), TreeError> {
        let failed = |path: &str| {
            let path = path.to_owned();
            move |source| TreeError { path, source }
        };
        for entry in fs::read_dir(root.join(folder)).map_err(failed(folder))? {
            let entry = entry.map_err(failed(folder))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
            let kind = entry.file_type().map_err(failed(&path))?;
            if SKIPPED.contains(&name.as_str()) || SKIPPED.contains(&path.as_str()) {
                continue;
            }
            if kind.is_dir() {
                self.load_folder(root, &path)?;
            } else if kind.is_file() {
                self.load_file(root, path).map_err(failed(folder))?;
            }
        }
        Ok(())
    }

    /// Leaves out what is not text. Other programs may remove a file while this one walks.
    fn load_file(&mut self, root: &Path, path: String) -> io::Result<()> {
        let full = root.join(&path);
        let bytes = match fs::metadata(&full) {
            Ok(found) if found.len() <= FILE_BYTES_MAX => fs::read(&full),
            Ok(_) => return Ok(()),
            Err(error) => Err(error),
        };
        match bytes {
            Ok(bytes) => {
                if let Ok(text) = String::from_utf8(bytes) {
                    self.files.insert(path, text);
                }
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }
}
