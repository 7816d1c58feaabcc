//! The directory tree of one disk, with the entries that the platter has and the journal of
//! changes that no sync has covered yet.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Component, Path};

use crate::sim::disk::crash::{Tally, crash_file};
use crate::sim::disk::faults::{CrashModel, EntryModel};
use crate::sim::disk::file::{Durable, FileData};
use crate::sim::rng::Stream;

pub(crate) type InodeId = u64;
pub(crate) const ROOT: InodeId = 0;

/// A place for a name: the directory and the name in it.
type Place = (InodeId, String);

enum Inode {
    File(FileData),
    Dir(Directory),
}

#[derive(Default)]
struct Directory {
    live: BTreeMap<String, InodeId>,
    durable: BTreeMap<String, InodeId>,
}

/// A change of directory entries, kept or undone as a whole. A rename is one change: the name is
/// never lost from both places, which journalling file systems promise and POSIX asks for.
#[derive(Clone)]
enum Change {
    Link(Place, InodeId),
    Unlink(Place),
    Rename(Place, Place, InodeId),
}

/// What is at a path.
pub(crate) enum Found {
    File(InodeId),
    Dir(InodeId),
    /// Nothing, but its directory is there.
    Missing,
}

pub(crate) struct Tree {
    inodes: BTreeMap<InodeId, Inode>,
    made_count: u64,
    /// Changes since the last sync of their directory, oldest first.
    journal: Vec<Change>,
    /// Open handles by inode.
    open: BTreeMap<InodeId, u64>,
    /// Names taken away since the last sweep.
    unswept_count: usize,
    /// What lost a name, and may have none any more.
    nameless: BTreeSet<InodeId>,
    /// What `used_bytes` answers, as long as it is known.
    used_bytes: Option<u64>,
}

/// The names of a path from the root; relative paths start there, too.
fn names(path: &Path) -> io::Result<Vec<&str>> {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::RootDir | Component::CurDir => {}
            Component::Normal(name) => {
                names.push(name.to_str().ok_or(io::ErrorKind::InvalidInput)?);
            }
            Component::ParentDir | Component::Prefix(_) => {
                return Err(io::ErrorKind::InvalidInput.into());
            }
        }
    }
    Ok(names)
}

fn is_a_directory() -> io::Error {
    io::ErrorKind::IsADirectory.into()
}

impl Tree {
    pub(crate) fn new() -> Tree {
        let inodes = BTreeMap::from([(ROOT, Inode::Dir(Directory::default()))]);
        Tree {
            inodes,
            made_count: 0,
            journal: Vec::new(),
            open: BTreeMap::new(),
            unswept_count: 0,
            nameless: BTreeSet::new(),
            used_bytes: None,
        }
    }

    /// What the platter has now, as a power cut leaves it that keeps nothing else.
    pub(crate) fn on_platter(&self) -> Tree {
        let inodes = self.inodes.iter().map(|(id, inode)| {
            let inode = match inode {
                Inode::File(file) => Inode::File(file.on_platter()),
                Inode::Dir(dir) => Inode::Dir(Directory {
                    live: dir.durable.clone(),
                    durable: dir.durable.clone(),
                }),
            };
            (*id, inode)
        });
        let mut tree =
            Tree { inodes: inodes.collect(), made_count: self.made_count, ..Tree::new() };
        tree.sweep();
        tree
    }

    fn dir(&self, id: InodeId) -> io::Result<&Directory> {
        match self.inodes.get(&id) {
            Some(Inode::Dir(dir)) => Ok(dir),
            Some(Inode::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn dir_mut(&mut self, id: InodeId) -> &mut Directory {
        match self.inodes.get_mut(&id) {
            Some(Inode::Dir(dir)) => dir,
            _ => unreachable!("an entry's directory is kept as long as a change names it"),
        }
    }

    pub(crate) fn file(&self, id: InodeId) -> io::Result<&FileData> {
        match self.inodes.get(&id) {
            Some(Inode::File(file)) => Ok(file),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Changes a file that has a name or a handle.
    pub(crate) fn change_file<T>(
        &mut self,
        id: InodeId,
        change: impl FnOnce(&mut FileData) -> T,
    ) -> io::Result<T> {
        let Some(Inode::File(file)) = self.inodes.get_mut(&id) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let before = file.used_bytes();
        let result = change(file);
        let after = file.used_bytes();
        self.used_bytes = self.used_bytes.map(|used| used + after - before);
        Ok(result)
    }

    /// A file to change that may have neither a name nor a handle in the running system.
    pub(crate) fn file_mut(&mut self, id: InodeId) -> io::Result<&mut FileData> {
        self.used_bytes = None;
        match self.inodes.get_mut(&id) {
            Some(Inode::File(file)) => Ok(file),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// The directory and name of a path's last component; `None` for the root.
    fn place(&self, path: &Path) -> io::Result<Option<Place>> {
        let names = names(path)?;
        let Some((last, parents)) = names.split_last() else { return Ok(None) };
        let mut at = ROOT;
        for name in parents {
            at = *self.dir(at)?.live.get(*name).ok_or(io::ErrorKind::NotFound)?;
        }
        self.dir(at)?;
        Ok(Some((at, (*last).to_owned())))
    }

    /// What is at `path` in the running system. `NotFound` if its directory is missing.
    pub(crate) fn find(&self, path: &Path) -> io::Result<Found> {
        let Some((dir, name)) = self.place(path)? else { return Ok(Found::Dir(ROOT)) };
        Ok(self.kind(self.dir(dir)?.live.get(&name)))
    }

    fn kind(&self, id: Option<&InodeId>) -> Found {
        match id.map(|id| (*id, self.inodes.get(id))) {
            Some((id, Some(Inode::File(_)))) => Found::File(id),
            Some((id, Some(Inode::Dir(_)))) => Found::Dir(id),
            _ => Found::Missing,
        }
    }

    /// The file at `path` in the running system.
    pub(crate) fn find_file(&self, path: &Path) -> io::Result<InodeId> {
        match self.find(path)? {
            Found::File(id) => Ok(id),
            Found::Dir(_) => Err(is_a_directory()),
            Found::Missing => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// The file whose every name up to the root is on the platter, if there is one at `path`.
    pub(crate) fn find_durable(&self, path: &Path) -> Option<InodeId> {
        let mut at = ROOT;
        for name in names(path).ok()? {
            at = *self.dir(at).ok()?.durable.get(name)?;
        }
        self.file(at).ok().map(|_| at)
    }

    /// What the platter has of the file at `path`, if its names are there.
    pub(crate) fn durable_file(&self, path: &Path) -> Option<&Durable> {
        self.file(self.find_durable(path)?).ok().map(|file| &file.durable)
    }

    fn make(&mut self, inode: Inode, place: Place) -> InodeId {
        self.made_count += 1;
        let id = self.made_count;
        self.inodes.insert(id, inode);
        self.dir_mut(place.0).live.insert(place.1.clone(), id);
        self.journal.push(Change::Link(place, id));
        id
    }

    pub(crate) fn create_file(&mut self, path: &Path) -> io::Result<InodeId> {
        let place = self.place(path)?.ok_or_else(is_a_directory)?;
        Ok(self.make(Inode::File(FileData::default()), place))
    }

    pub(crate) fn create_dir_all(&mut self, path: &Path) -> io::Result<()> {
        let mut at = ROOT;
        for name in names(path)? {
            at = match self.kind(self.dir(at)?.live.get(name)) {
                Found::Dir(id) => id,
                Found::File(_) => return Err(io::ErrorKind::NotADirectory.into()),
                Found::Missing => {
                    self.make(Inode::Dir(Directory::default()), (at, name.to_owned()))
                }
            };
        }
        Ok(())
    }

    pub(crate) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let from = self.place(from)?.ok_or(io::ErrorKind::InvalidInput)?;
        let to = self.place(to)?.ok_or(io::ErrorKind::InvalidInput)?;
        let id = *self.dir(from.0)?.live.get(&from.1).ok_or(io::ErrorKind::NotFound)?;
        if from == to {
            return Ok(());
        }
        let moves_dir = matches!(self.inodes.get(&id), Some(Inode::Dir(_)));
        match self.kind(self.dir(to.0)?.live.get(&to.1)) {
            Found::Dir(_) if !moves_dir => return Err(is_a_directory()),
            Found::File(_) if moves_dir => return Err(io::ErrorKind::NotADirectory.into()),
            Found::Dir(old) if !self.dir(old)?.live.is_empty() => {
                return Err(io::ErrorKind::DirectoryNotEmpty.into());
            }
            _ => {}
        }
        if moves_dir && self.is_below(to.0, id) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.dir_mut(from.0).live.remove(&from.1);
        let replaced = self.dir_mut(to.0).live.insert(to.1.clone(), id);
        self.nameless.extend(replaced);
        self.journal.push(Change::Rename(from, to, id));
        self.name_went();
        Ok(())
    }

    /// Whether directory `dir` is `top` or below it.
    fn is_below(&self, dir: InodeId, top: InodeId) -> bool {
        let mut open = vec![top];
        while let Some(at) = open.pop() {
            if at == dir {
                return true;
            }
            open.extend(self.dir(at).into_iter().flat_map(|found| found.live.values()));
        }
        false
    }

    fn unlink(&mut self, place: Place) {
        let gone = self.dir_mut(place.0).live.remove(&place.1);
        self.nameless.extend(gone);
        self.journal.push(Change::Unlink(place));
        self.name_went();
    }

    fn name_went(&mut self) {
        self.unswept_count += 1;
        self.used_bytes = None;
    }

    pub(crate) fn remove_file(&mut self, path: &Path) -> io::Result<()> {
        self.find_file(path)?;
        if let Some(place) = self.place(path)? {
            self.unlink(place);
        }
        self.sweep_if_due();
        Ok(())
    }

    pub(crate) fn remove_dir_all(&mut self, path: &Path) -> io::Result<()> {
        let Found::Dir(dir) = self.find(path)? else {
            self.find_file(path)?;
            return Err(io::ErrorKind::NotADirectory.into());
        };
        let place = self.place(path)?.ok_or(io::ErrorKind::InvalidInput)?;
        self.empty(dir)?;
        self.unlink(place);
        self.sweep_if_due();
        Ok(())
    }

    fn empty(&mut self, dir: InodeId) -> io::Result<()> {
        let entries: Vec<(String, InodeId)> =
            self.dir(dir)?.live.iter().map(|(name, id)| (name.clone(), *id)).collect();
        for (name, id) in entries {
            if matches!(self.inodes.get(&id), Some(Inode::Dir(_))) {
                self.empty(id)?;
            }
            self.unlink((dir, name));
        }
        Ok(())
    }

    /// Name, whether it is a directory, and length of each entry, by name.
    pub(crate) fn list(&self, path: &Path) -> io::Result<Vec<(String, bool, u64)>> {
        let dir = match self.find(path)? {
            Found::Dir(dir) => self.dir(dir)?,
            Found::File(_) => return Err(io::ErrorKind::NotADirectory.into()),
            Found::Missing => return Err(io::ErrorKind::NotFound.into()),
        };
        let entry = |(name, id): (&String, &InodeId)| match self.inodes.get(id) {
            Some(Inode::File(file)) => (name.clone(), false, file.len),
            _ => (name.clone(), true, 0),
        };
        Ok(dir.live.iter().map(entry).collect())
    }

    /// The paths of all files, sorted; as on the platter, or as in the running system.
    pub(crate) fn files(&self, durable: bool) -> Vec<String> {
        let mut paths = Vec::new();
        let mut open = vec![(ROOT, String::new())];
        while let Some((id, prefix)) = open.pop() {
            let Ok(dir) = self.dir(id) else { continue };
            for (name, id) in if durable { &dir.durable } else { &dir.live } {
                let path = format!("{prefix}/{name}");
                match self.kind(Some(id)) {
                    Found::File(_) => paths.push(path),
                    Found::Dir(id) => open.push((id, path)),
                    Found::Missing => {}
                }
            }
        }
        paths.sort_unstable();
        paths
    }

    /// A directory's own changes: those whose new (or removed) name is in it.
    fn take_changes(&mut self, dir: InodeId) -> Vec<Change> {
        let (taken, left) = std::mem::take(&mut self.journal).into_iter().partition(|change| {
            let (Change::Link(place, _) | Change::Unlink(place) | Change::Rename(_, place, _)) =
                change;
            place.0 == dir
        });
        self.journal = left;
        taken
    }

    /// Makes the changes of a directory durable; how many there were.
    pub(crate) fn sync_dir(&mut self, dir: InodeId) -> u64 {
        let changes = self.take_changes(dir);
        let count = changes.len() as u64;
        for change in changes {
            self.apply_durable(change);
        }
        self.sweep_if_due();
        count
    }

    /// A failed sync of a directory: its changes will never be durable; how many there were.
    pub(crate) fn lose_changes(&mut self, dir: InodeId) -> u64 {
        self.take_changes(dir).len() as u64
    }

    fn apply_durable(&mut self, change: Change) {
        match change {
            Change::Link((dir, name), id) => {
                self.dir_mut(dir).durable.insert(name, id);
            }
            Change::Unlink((dir, name)) => {
                self.dir_mut(dir).durable.remove(&name);
            }
            Change::Rename((from, old_name), (to, name), id) => {
                let source = self.dir_mut(from);
                if source.durable.get(&old_name) == Some(&id) {
                    source.durable.remove(&old_name);
                }
                self.dir_mut(to).durable.insert(name, id);
            }
        }
    }

    /// What the platter has after a power cut becomes what the system sees.
    pub(crate) fn crash(&mut self, model: &CrashModel, draw: &mut Stream) -> Tally {
        let mut tally = Tally::default();
        let journal = std::mem::take(&mut self.journal);
        let kept_prefix = draw.between(0, journal.len() as u64);
        for (index, change) in journal.into_iter().enumerate() {
            let alone = draw.chance(0.5);
            let kept = match model.entries {
                EntryModel::Independent => alone,
                EntryModel::OrderedJournal => (index as u64) < kept_prefix,
            };
            if kept {
                self.apply_durable(change);
            } else {
                tally.entries_undone += 1;
            }
        }
        for inode in self.inodes.values_mut() {
            match inode {
                Inode::File(file) => crash_file(file, model, draw, &mut tally),
                Inode::Dir(dir) => dir.live = dir.durable.clone(),
            }
        }
        self.close_all();
        tally
    }

    pub(crate) fn opened(&mut self, id: InodeId) {
        *self.open.entry(id).or_default() += 1;
    }

    pub(crate) fn closed(&mut self, id: InodeId) {
        if let Some(count) = self.open.get_mut(&id) {
            *count -= 1;
            if *count == 0 {
                self.open.remove(&id);
                // The room of a file without a name is free once its last handle is closed.
                if self.nameless.contains(&id) {
                    self.used_bytes = None;
                }
                self.sweep_if_due();
            }
        }
    }

    /// The process is gone, and its handles with it.
    pub(crate) fn close_all(&mut self) {
        self.open.clear();
        self.used_bytes = None;
        self.sweep();
    }

    /// Disk space of the files that the running system still sees or has open.
    pub(crate) fn used_bytes(&mut self) -> u64 {
        if let Some(used) = self.used_bytes {
            return used;
        }
        let mut live: BTreeSet<InodeId> = self.open.keys().copied().collect();
        for inode in self.inodes.values() {
            if let Inode::Dir(dir) = inode {
                live.extend(dir.live.values());
            }
        }
        let used = live.iter().filter_map(|id| self.file(*id).ok()).map(FileData::used_bytes).sum();
        self.used_bytes = Some(used);
        used
    }

    /// Sweeps once so many names went that the cost is shared among them.
    fn sweep_if_due(&mut self) {
        if self.unswept_count > 0 && self.unswept_count * 4 >= self.inodes.len() {
            self.sweep();
        }
    }

    /// Forgets what no name, handle or unsynced change leads to.
    fn sweep(&mut self) {
        let mut reached = BTreeSet::from([ROOT]);
        let mut open: Vec<InodeId> = vec![ROOT];
        open.extend(self.open.keys());
        for change in &self.journal {
            match change {
                Change::Link((dir, _), id) => open.extend([*dir, *id]),
                Change::Unlink((dir, _)) => open.push(*dir),
                Change::Rename((from, _), (to, _), id) => open.extend([*from, *to, *id]),
            }
        }
        while let Some(id) = open.pop() {
            reached.insert(id);
            if let Some(Inode::Dir(dir)) = self.inodes.get(&id) {
                let below = dir.live.values().chain(dir.durable.values());
                open.extend(below.filter(|id| !reached.contains(id)));
            }
        }
        self.inodes.retain(|id, _| reached.contains(id));
        self.nameless.retain(|id| reached.contains(id));
        self.unswept_count = 0;
    }
}
