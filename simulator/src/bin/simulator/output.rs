//! A file that a command is asked to write: whether it can be is found out before any run, and it
//! appears whole or not at all.

use std::path::{Path, PathBuf};

pub(crate) struct Output {
    file: PathBuf,
    /// Where it is written first; the file itself if that is a device, a pipe or a link.
    beside: PathBuf,
    /// The option that names it.
    option: &'static str,
}

impl Output {
    /// Finds out whether `file` can be written before any work is done for it.
    pub(crate) fn at(file: &Path, option: &'static str) -> Result<Output, String> {
        let mut output = Output { file: file.to_owned(), beside: file.to_owned(), option };
        if file.is_dir() {
            return Err(format!("{} is a folder; name a file with {option}", file.display()));
        }
        if file.symlink_metadata().is_ok_and(|data| !data.is_file()) {
            return Ok(output);
        }
        let mut beside = file.as_os_str().to_owned();
        beside.push(format!(".{}", std::process::id()));
        output.beside = beside.into();
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
        let made = folder.map_or(Ok(()), std::fs::create_dir_all);
        let probed = made.and_then(|()| std::fs::write(&output.beside, ""));
        let probed = probed.and_then(|()| std::fs::remove_file(&output.beside));
        probed.map_err(|error| output.failed(&error))?;
        Ok(output)
    }

    /// Where somebody else may write it, before [`Output::put_in_place`].
    pub(crate) fn beside(&self) -> &Path {
        &self.beside
    }

    pub(crate) fn write(&self, text: &str) -> Result<(), String> {
        std::fs::write(&self.beside, text).map_err(|error| self.failed(&error))?;
        self.put_in_place()
    }

    /// Gives what was written its name.
    pub(crate) fn put_in_place(&self) -> Result<(), String> {
        if self.beside == self.file {
            return Ok(());
        }
        std::fs::rename(&self.beside, &self.file).map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &std::io::Error) -> String {
        format!("{} cannot be written: {error}; name another {}", self.file.display(), self.option)
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if self.beside != self.file {
            // There is none but after a failure; if it cannot be removed, its name says what it is.
            let _ = std::fs::remove_file(&self.beside);
        }
    }
}
