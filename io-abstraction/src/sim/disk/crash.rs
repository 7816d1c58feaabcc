//! What a power cut leaves of one file. The model is written down in `sim::disk`.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::sim::disk::faults::CrashModel;
use crate::sim::disk::file::{
    Durable, FileData, PAGE_BYTES, Page, SECTOR_BYTES, copy_out, cut, page_count,
};
use crate::sim::rng::Stream;

const SECTORS: u64 = (PAGE_BYTES / SECTOR_BYTES) as u64;
static ZEROS: [u8; PAGE_BYTES] = [0; PAGE_BYTES];

/// How many times each fault changed something in one power cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// D1: pages dropped or replaced, and lengths other than the newest.
    pub(crate) lost: u64,
    /// D2: pages torn.
    pub(crate) torn: u64,
    /// D3: directory changes undone.
    pub(crate) entries_undone: u64,
    /// D4: files of which a later write survived an earlier one.
    pub(crate) reordered: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Kept,
    Dropped,
    Replaced,
    Torn,
}

/// Decides what the platter has of `file` after a power cut, and starts the file anew from it.
pub(crate) fn crash_file(
    file: &mut FileData,
    model: &CrashModel,
    draw: &mut Stream,
    tally: &mut Tally,
) {
    let synced = file.durable.clone();
    let newest_len = file.len;
    let mut first_lost = u64::MAX;
    let mut survivors = Vec::new();
    for (number, dirty) in std::mem::take(&mut file.dirty) {
        let old = synced.pages.get(&number).cloned();
        let new = file.pages.get(&number).cloned();
        let outcome = draw_outcome(model, draw);
        let result = page_after(outcome, (&old, &new), (&dirty.versions, model.shorn_pages), draw);
        if content(&result) == content(&new) {
            survivors.push(dirty.write_number);
        } else {
            tally.lost += u64::from(outcome != Outcome::Torn);
            tally.torn += u64::from(outcome == Outcome::Torn);
            first_lost = first_lost.min(dirty.write_number);
        }
        match result {
            Some(page) => file.durable.pages.insert(number, page),
            None => file.durable.pages.remove(&number),
        };
    }
    tally.reordered += u64::from(survivors.iter().any(|survivor| *survivor > first_lost));
    file.durable.len = draw_len(file, synced.len, draw);
    tally.lost += u64::from(file.durable.len != newest_len);
    undo_truncation(&mut file.durable, &synced, newest_len);
    file.reload();
}

fn draw_outcome(model: &CrashModel, draw: &mut Stream) -> Outcome {
    let weights = [model.kept, model.dropped, model.replaced, model.torn].map(u64::from);
    let mut left = draw.below(weights.iter().sum());
    let outcomes = [Outcome::Kept, Outcome::Dropped, Outcome::Replaced, Outcome::Torn];
    for (outcome, weight) in outcomes.into_iter().zip(weights) {
        if left < weight {
            return outcome;
        }
        left -= weight;
    }
    Outcome::Kept
}

fn content(page: &Option<Page>) -> &[u8; PAGE_BYTES] {
    page.as_ref().map_or(&ZEROS, |page| page)
}

fn page_after(
    outcome: Outcome,
    (old, new): (&Option<Page>, &Option<Page>),
    (versions, shorn): (&[Option<Page>], bool),
    draw: &mut Stream,
) -> Option<Page> {
    match outcome {
        Outcome::Kept => new.clone(),
        Outcome::Dropped => old.clone(),
        Outcome::Replaced if !versions.is_empty() && draw.chance(0.5) => {
            let index = usize::try_from(draw.below(versions.len() as u64)).unwrap_or(0);
            versions[index].clone()
        }
        Outcome::Replaced => Some(garbage(content(old), content(new), shorn, draw)),
        Outcome::Torn => Some(torn(content(old), content(new), draw)),
    }
}

/// The newest content with garbage in the bytes that changed, or in the whole page if it is shorn.
fn garbage(old: &[u8; PAGE_BYTES], new: &[u8; PAGE_BYTES], shorn: bool, draw: &mut Stream) -> Page {
    let mut noise = [0; PAGE_BYTES];
    draw.fill(&mut noise);
    for (index, byte) in noise.iter_mut().enumerate() {
        if !shorn && old[index] == new[index] {
            *byte = new[index];
        }
    }
    Arc::new(noise)
}

/// A prefix, a suffix or any set of the sectors is new, the others are old.
fn torn(old: &[u8; PAGE_BYTES], new: &[u8; PAGE_BYTES], draw: &mut Stream) -> Page {
    let shape = draw.below(3);
    let border = draw.between(1, SECTORS - 1);
    let set = draw.u64();
    let mut page = *old;
    for sector in 0..SECTORS {
        let is_new = match shape {
            0 => sector < border,
            1 => sector >= border,
            _ => set >> sector & 1 == 1,
        };
        if is_new {
            let first = usize::try_from(sector).expect("a page has 8 sectors") * SECTOR_BYTES;
            page[first..first + SECTOR_BYTES].copy_from_slice(&new[first..first + SECTOR_BYTES]);
        }
    }
    Arc::new(page)
}

/// The newest length, the synced one, or any between the least and the greatest since the sync.
fn draw_len(file: &FileData, synced_len: u64, draw: &mut Stream) -> u64 {
    let shape = draw.below(3);
    let low = file.shortest_len.min(synced_len).min(file.len);
    let between = draw.between(low, synced_len.max(file.len));
    match shape {
        0 => file.len,
        1 => synced_len,
        _ => between,
    }
}

/// A file whose truncation did not reach the platter still has its old bytes past the new end.
fn undo_truncation(durable: &mut Durable, synced: &Durable, newest_len: u64) {
    let mut restored = BTreeMap::new();
    for number in newest_len / PAGE_BYTES as u64..page_count(durable.len) {
        let first = number * PAGE_BYTES as u64;
        let mut page = bytes::BytesMut::with_capacity(PAGE_BYTES);
        let kept = newest_len.saturating_sub(first).min(PAGE_BYTES as u64);
        let kept = usize::try_from(kept).expect("at most a page");
        copy_out(&durable.pages, first, kept, &mut page);
        copy_out(&synced.pages, first + kept as u64, PAGE_BYTES - kept, &mut page);
        let page: [u8; PAGE_BYTES] = page[..].try_into().expect("two pieces make a page");
        restored.insert(number, Arc::new(page));
    }
    durable.pages.append(&mut restored);
    cut(&mut durable.pages, durable.len);
}
