//! Changing many leaves at once.
//!
//! For: the new root and the pages to write, from the old pages and a sorted batch. Not for: writing them, or for
//! knowing what the values are.
//!
//! The batch is split by one key bit per level on the way down and joined on the way up, so every position above the
//! changed leaves is hashed once, however many changes meet there. A position is left alone if nothing below changed.

use crate::hash::{Hash, Key};

use super::{
    Page, PagePath, Slot,
    node::bit,
    page::{Draft, LOWEST, TOP},
    source::{PageSource, TreeError, load, open},
};

/// One change: the new value's hash, or `None` to delete the leaf.
type Change = (Key, Option<Hash>);

/// What a batch of changes does to the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeDelta {
    /// The root afterwards.
    pub root: Hash,
    /// Every page that differs, once, children before parents: its new content, or `None` if it is to be deleted.
    pub pages: Vec<(PagePath, Option<Page>)>,
}

/// Applies `changes`, strictly ascending by key, to the tree with this `root`.
///
/// Deleting an absent key and writing the value that is there already are allowed and change nothing.
pub fn update<S: PageSource>(
    source: &S,
    root: Hash,
    changes: &[(Key, Option<Hash>)],
) -> Result<TreeDelta, TreeError<S::Error>> {
    if !changes.is_sorted_by(|a, b| a.0 < b.0) {
        return Err(TreeError::Unsorted);
    }
    let (before, page) = open(source, &root)?;
    let mut draft = page.as_ref().map_or_else(Draft::empty, Draft::from);
    let mut batch = Batch { source, pages: Vec::new() };
    let after = batch.change(&mut draft, &PagePath::ROOT, TOP, before, changes)?;
    if after != before {
        let page = match after {
            Slot::Empty => None,
            Slot::Leaf { key, value_hash } => Some(Page::lone(key, value_hash)),
            Slot::Inner(top) => Some(draft.to_page(&top)),
        };
        batch.pages.push((PagePath::ROOT, page));
    }
    Ok(TreeDelta { root: after.hash(), pages: batch.pages })
}

/// A batch under way: where pages come from, and those that changed so far.
struct Batch<'a, S> {
    source: &'a S,
    pages: Vec<(PagePath, Option<Page>)>,
}

impl<S: PageSource> Batch<'_, S> {
    /// Applies `changes`, all of which lie below position `at` of `page`, where `here` stands; returns what stands
    /// there afterwards, which the caller writes.
    fn change(
        &mut self,
        page: &mut Draft,
        path: &PagePath,
        at: usize,
        here: Slot,
        changes: &[Change],
    ) -> Result<Slot, TreeError<S::Error>> {
        if let Some(settled) = without_descending(here, changes) {
            return Ok(settled);
        }
        if at >= LOWEST {
            return self.change_page(path.child(at - LOWEST), here, changes);
        }
        let depth = path.depth() + at.ilog2() as usize;
        let (old_left, old_right) = neighbours_below(page, at, here, depth);
        let (to_left, to_right) = changes.split_at(changes.partition_point(|(key, _)| bit(key, depth) == 0));
        let left = self.change(page, path, 2 * at, old_left, to_left)?;
        let right = self.change(page, path, 2 * at + 1, old_right, to_right)?;
        if matches!(here, Slot::Inner(_)) && left == old_left && right == old_right {
            return Ok(here);
        }
        let above = Slot::join(&left, &right);
        let stays_below = matches!(above, Slot::Inner(_));
        page.set(2 * at, if stays_below { left } else { Slot::Empty });
        page.set(2 * at + 1, if stays_below { right } else { Slot::Empty });
        Ok(above)
    }

    /// The same for changes below a whole page, which is loaded, begun or given up as needed.
    fn change_page(&mut self, path: PagePath, before: Slot, changes: &[Change]) -> Result<Slot, TreeError<S::Error>> {
        let mut page = match before {
            Slot::Inner(hash) => Draft::from(&load(self.source, &path, &hash)?),
            Slot::Empty | Slot::Leaf { .. } => Draft::empty(),
        };
        let after = self.change(&mut page, &path, TOP, before, changes)?;
        match (before, after) {
            _ if before == after => {}
            (_, Slot::Inner(top)) => self.pages.push((path, Some(page.to_page(&top)))),
            (Slot::Inner(_), Slot::Empty | Slot::Leaf { .. }) => self.pages.push((path, None)),
            (Slot::Empty | Slot::Leaf { .. }, Slot::Empty | Slot::Leaf { .. }) => {}
        }
        Ok(after)
    }
}

/// What stands at a position afterwards if that can be said without looking below it: nothing to do, or at most one
/// leaf remains. `None` means that there are, or may be, two keys below.
fn without_descending(here: Slot, changes: &[Change]) -> Option<Slot> {
    if changes.is_empty() {
        return Some(here);
    }
    let kept = match here {
        Slot::Inner(_) => return None,
        Slot::Leaf { key, .. } if changes.binary_search_by(|change| change.0.cmp(&key)).is_ok() => Slot::Empty,
        Slot::Leaf { .. } | Slot::Empty => here,
    };
    let mut written = changes.iter().filter_map(|&(key, value)| Some(Slot::Leaf { key, value_hash: value? }));
    match (kept, written.next(), written.next()) {
        (_, None, _) => Some(kept),
        (Slot::Empty, only, None) => only,
        _ => None,
    }
}

/// What stands below `at`: the page's own positions below a node; below a leaf, the leaf pushed one level down.
fn neighbours_below(page: &Draft, at: usize, here: Slot, depth: usize) -> (Slot, Slot) {
    match here {
        Slot::Empty => (Slot::Empty, Slot::Empty),
        Slot::Leaf { key, .. } if bit(&key, depth) == 0 => (here, Slot::Empty),
        Slot::Leaf { .. } => (Slot::Empty, here),
        Slot::Inner(_) => (page.get(2 * at), page.get(2 * at + 1)),
    }
}
