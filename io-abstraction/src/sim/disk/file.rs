//! The content of one file, twice: as the running system sees it, and as the platter has it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::BytesMut;

use crate::sim::rng::Stream;

/// Bytes of a page: the unit in which the cache writes back.
pub(crate) const PAGE_BYTES: usize = 4096;
/// Bytes of a sector: the unit that the drive writes whole or not at all.
pub(crate) const SECTOR_BYTES: usize = 512;
/// Versions of a page, besides the newest, that are kept between two syncs.
const VERSIONS_KEPT_MAX: usize = 2;

/// A page's bytes; copied only when one of several owners writes.
pub(crate) type Page = Arc<[u8; PAGE_BYTES]>;

/// What the platter has of a file.
#[derive(Clone, Default, PartialEq)]
pub(crate) struct Durable {
    /// An absent page reads as zeros.
    pub(crate) pages: BTreeMap<u64, Page>,
    pub(crate) len: u64,
}

/// What happened to a page since the last sync.
pub(crate) struct Dirty {
    /// What the page held between the last sync and now, oldest first; the newest is in the cache.
    pub(crate) versions: Vec<Option<Page>>,
    /// Number of the last write to it, over the whole disk.
    pub(crate) write_number: u64,
}

/// One file.
#[derive(Default)]
pub(crate) struct FileData {
    pub(crate) pages: BTreeMap<u64, Page>,
    pub(crate) len: u64,
    pub(crate) durable: Durable,
    pub(crate) dirty: BTreeMap<u64, Dirty>,
    /// Pages of the platter that cannot be read until they are written again.
    bad: BTreeSet<u64>,
    /// The shortest length since the last sync.
    pub(crate) shortest_len: u64,
    syncs_begun: u64,
    /// The latest begun of the syncs that ended well.
    sync_committed: u64,
    /// The first pages, as many, have their room whether written or not.
    reserved_pages: u64,
    /// Pages present in the cache at or past `reserved_pages`.
    unreserved_pages: u64,
}

/// What a sync took with it when it began: later writes are not covered by it.
pub(crate) struct Snapshot {
    pages: Vec<(u64, Option<Page>)>,
    len: u64,
    number: u64,
}

impl Snapshot {
    pub(crate) fn page_count(&self) -> usize {
        self.pages.len()
    }
}

/// The number of pages that hold `len` bytes.
pub(crate) fn page_count(len: u64) -> u64 {
    len.div_ceil(PAGE_BYTES as u64)
}

/// Splits a range of bytes at page borders: page number, first byte in the page, byte count.
fn page_pieces(position: u64, len: usize) -> impl Iterator<Item = (u64, usize, usize)> {
    let mut at = position;
    let end = position.saturating_add(len as u64);
    std::iter::from_fn(move || {
        if at >= end {
            return None;
        }
        let offset_in_page = at % PAGE_BYTES as u64;
        let count = (end - at).min(PAGE_BYTES as u64 - offset_in_page);
        let page = at / PAGE_BYTES as u64;
        at += count;
        let piece = (usize::try_from(offset_in_page), usize::try_from(count));
        let (Ok(offset_in_page), Ok(count)) = piece else { return None };
        Some((page, offset_in_page, count))
    })
}

/// Appends the bytes of `pages` at `position` to `out`.
pub(crate) fn copy_out(pages: &BTreeMap<u64, Page>, position: u64, len: usize, out: &mut BytesMut) {
    for (page, offset_in_page, count) in page_pieces(position, len) {
        match pages.get(&page) {
            Some(bytes) => out.extend_from_slice(&bytes[offset_in_page..offset_in_page + count]),
            None => out.resize(out.len() + count, 0),
        }
    }
}

/// Cuts `pages` to `len` bytes: later pages go, the rest of the last one becomes zeros.
pub(crate) fn cut(pages: &mut BTreeMap<u64, Page>, len: u64) {
    drop(pages.split_off(&page_count(len)));
    let kept = usize::try_from(len % PAGE_BYTES as u64).expect("a remainder below a page fits");
    if kept > 0
        && let Some(last) = pages.get_mut(&(len / PAGE_BYTES as u64))
        && last[kept..].iter().any(|byte| *byte != 0)
    {
        Arc::make_mut(last)[kept..].fill(0);
    }
}

impl FileData {
    /// Bytes of disk space that it takes.
    pub(crate) fn used_bytes(&self) -> u64 {
        (self.reserved_pages + self.unreserved_pages) * PAGE_BYTES as u64
    }

    /// How many of `len` bytes from `position` fit when `room_bytes` more may be taken.
    pub(crate) fn fitting(&self, position: u64, len: usize, room_bytes: u64) -> usize {
        let mut room_pages = room_bytes / PAGE_BYTES as u64;
        let mut fitting = 0;
        for (page, _, count) in page_pieces(position, len) {
            if !self.has_room(page) {
                if room_pages == 0 {
                    break;
                }
                room_pages -= 1;
            }
            fitting += count;
        }
        fitting
    }

    fn has_room(&self, page: u64) -> bool {
        page < self.reserved_pages || self.pages.contains_key(&page)
    }

    /// Bytes that can be read at `position`, at most `len`.
    pub(crate) fn readable(&self, position: u64, len: usize) -> usize {
        let left = self.len.saturating_sub(position);
        len.min(usize::try_from(left).unwrap_or(usize::MAX))
    }

    pub(crate) fn write(&mut self, position: u64, data: &[u8], write_number: u64) {
        let mut taken = 0;
        for (page, offset_in_page, count) in page_pieces(position, data.len()) {
            self.note_dirty(page, write_number);
            self.bad.remove(&page);
            if !self.has_room(page) {
                self.unreserved_pages += 1;
            }
            let bytes = self.pages.entry(page).or_insert_with(|| Arc::new([0; PAGE_BYTES]));
            Arc::make_mut(bytes)[offset_in_page..offset_in_page + count]
                .copy_from_slice(&data[taken..taken + count]);
            taken += count;
        }
        self.len = self.len.max(position + data.len() as u64);
    }

    /// Must be called before the page changes.
    fn note_dirty(&mut self, page: u64, write_number: u64) {
        match self.dirty.get_mut(&page) {
            Some(dirty) => {
                if dirty.versions.len() == VERSIONS_KEPT_MAX {
                    dirty.versions.pop();
                }
                dirty.versions.push(self.pages.get(&page).cloned());
                dirty.write_number = write_number;
            }
            None => {
                self.dirty.insert(page, Dirty { versions: Vec::new(), write_number });
            }
        }
    }

    pub(crate) fn set_len(&mut self, len: u64, write_number: u64) {
        if len < self.len {
            let first_touched = len / PAGE_BYTES as u64;
            let touched: Vec<u64> =
                self.pages.range(first_touched..).map(|(page, _)| *page).collect();
            for page in touched {
                self.note_dirty(page, write_number);
            }
            cut(&mut self.pages, len);
            drop(self.bad.split_off(&page_count(len)));
            self.reserved_pages = self.reserved_pages.min(page_count(len));
            self.recount();
            self.shortest_len = self.shortest_len.min(len);
        }
        self.len = len;
    }

    /// Bytes of room that `allocate(len)` would take.
    pub(crate) fn allocation_bytes(&self, len: u64) -> u64 {
        let wanted = page_count(len);
        if wanted <= self.reserved_pages {
            return 0;
        }
        let present = self.pages.range(self.reserved_pages..wanted).count() as u64;
        (wanted - self.reserved_pages - present) * PAGE_BYTES as u64
    }

    pub(crate) fn allocate(&mut self, len: u64) {
        self.reserved_pages = self.reserved_pages.max(page_count(len));
        self.recount();
    }

    fn recount(&mut self) {
        self.unreserved_pages = self.pages.range(self.reserved_pages..).count() as u64;
    }

    /// What a sync that begins now will make durable.
    pub(crate) fn snapshot(&mut self) -> Snapshot {
        self.syncs_begun += 1;
        let pages = self.dirty.keys().map(|page| (*page, self.pages.get(page).cloned())).collect();
        Snapshot { pages, len: self.len, number: self.syncs_begun }
    }

    /// A sync that began with `snapshot` ended well.
    pub(crate) fn commit(&mut self, snapshot: Snapshot) {
        if snapshot.number < self.sync_committed {
            // A sync that began later ended earlier: it took the same pages, or newer ones.
            return;
        }
        self.sync_committed = snapshot.number;
        for (page, content) in snapshot.pages {
            self.forget_versions_through(page, content.as_ref());
            match content {
                Some(content) => self.durable.pages.insert(page, content),
                None => self.durable.pages.remove(&page),
            };
        }
        self.durable.len = snapshot.len;
        cut(&mut self.durable.pages, snapshot.len);
        self.shortest_len = self.len.min(snapshot.len);
    }

    /// The page is clean if it still is what was synced; else the versions up to that one go.
    fn forget_versions_through(&mut self, page: u64, synced: Option<&Page>) {
        let same = |version: Option<&Page>| match (version, synced) {
            (Some(version), Some(synced)) => Arc::ptr_eq(version, synced),
            (None, None) => true,
            _ => false,
        };
        if same(self.pages.get(&page)) {
            self.dirty.remove(&page);
        } else if let Some(dirty) = self.dirty.get_mut(&page)
            && let Some(index) = dirty.versions.iter().position(|version| same(version.as_ref()))
        {
            dirty.versions.drain(..=index);
        }
    }

    /// A sync that began with `snapshot` failed: the pages count as clean though the platter never
    /// got them. With `reverts`, reads show the platter's content from now on. Returns how many
    /// pages differ from the platter's.
    pub(crate) fn lose(&mut self, snapshot: Snapshot, reverts: bool) -> u64 {
        if snapshot.number < self.sync_committed {
            return 0;
        }
        let mut lost = 0;
        for (page, content) in snapshot.pages {
            let on_platter = self.durable.pages.get(&page).cloned();
            lost += u64::from(content != on_platter);
            self.forget_versions_through(page, content.as_ref());
            if !reverts || self.dirty.contains_key(&page) {
                continue;
            }
            match on_platter {
                Some(bytes) => self.pages.insert(page, bytes),
                None => self.pages.remove(&page),
            };
        }
        cut(&mut self.pages, self.len);
        self.recount();
        lost
    }

    /// The running system starts anew from what the platter has.
    pub(crate) fn reload(&mut self) {
        self.pages = self.durable.pages.clone();
        self.len = self.durable.len;
        self.shortest_len = self.len;
        self.dirty.clear();
        self.recount();
    }

    /// The file as the platter has it, with nothing else in memory.
    pub(crate) fn on_platter(&self) -> FileData {
        let mut file = FileData {
            durable: self.durable.clone(),
            bad: self.bad.clone(),
            reserved_pages: self.reserved_pages,
            ..FileData::default()
        };
        file.reload();
        file
    }

    /// Flips bits of the platter's bytes in the range, and of the cache's where the page is clean
    /// (it is read again from the platter). `masks` gives one mask, not zero, per byte. Returns how
    /// many bytes changed.
    pub(crate) fn rot(&mut self, position: u64, len: usize, mut masks: impl FnMut() -> u8) -> u64 {
        let left = self.durable.len.saturating_sub(position);
        let len = len.min(usize::try_from(left).unwrap_or(usize::MAX));
        let mut changed = 0;
        for (page, offset_in_page, count) in page_pieces(position, len) {
            let clean = !self.dirty.contains_key(&page);
            let bytes = self.durable.pages.entry(page).or_insert_with(|| Arc::new([0; PAGE_BYTES]));
            for byte in &mut Arc::make_mut(bytes)[offset_in_page..offset_in_page + count] {
                *byte ^= masks();
                changed += 1;
            }
            if clean {
                self.pages.insert(page, bytes.clone());
            }
        }
        self.recount();
        changed
    }

    /// See [`crate::sim::disk::control::DiskControl::spoil`].
    pub(crate) fn spoil(&mut self, position: u64) -> bool {
        let is_there = position < self.durable.len;
        if is_there {
            self.bad.insert(position / PAGE_BYTES as u64);
        }
        is_there
    }

    /// See [`crate::sim::disk::control::DiskControl::mend`].
    pub(crate) fn mend(&mut self, position: u64) -> bool {
        self.bad.remove(&(position / PAGE_BYTES as u64))
    }

    /// Whether a page of the range cannot be read.
    pub(crate) fn is_bad(&self, position: u64, len: usize) -> bool {
        !self.bad.is_empty()
            && page_pieces(position, len).any(|(page, _, _)| self.bad.contains(&page))
    }

    /// A sync that began with `snapshot` ends well, but one of its pages lands in the place of
    /// another, or nowhere. The cache holds what was written until it is read anew. Returns how
    /// many pages of the platter are not what they should be.
    pub(crate) fn commit_astray(
        &mut self,
        mut snapshot: Snapshot,
        (lands, draw): (bool, &mut Stream),
    ) -> u64 {
        if snapshot.number < self.sync_committed || snapshot.pages.is_empty() {
            self.commit(snapshot);
            return 0;
        }
        let chosen = usize::try_from(draw.below(snapshot.pages.len() as u64)).unwrap_or(0);
        let (page, content) = snapshot.pages.swap_remove(chosen);
        let other = draw.below(page_count(snapshot.len).max(1));
        self.forget_versions_through(page, content.as_ref());
        self.commit(snapshot);
        let mut wrong = u64::from(self.durable.pages.get(&page) != content.as_ref());
        if let (true, Some(content)) = (lands && other != page, content) {
            let before = self.durable.pages.insert(other, content.clone());
            wrong += u64::from(before.as_ref() != Some(&content));
        }
        wrong
    }

    /// The platter's content ends at `len`, as the repair of a damaged file system leaves it, and
    /// the running system starts anew from it. Returns how many bytes are gone.
    pub(crate) fn lose_end(&mut self, len: u64) -> u64 {
        let lost = self.durable.len.saturating_sub(len);
        self.durable.len -= lost;
        cut(&mut self.durable.pages, self.durable.len);
        self.reload();
        lost
    }
}
