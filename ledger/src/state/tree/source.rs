//! Where pages come from, and the checks that a loaded page is the one its parent speaks of.

use super::{Page, PagePath, Slot};
use crate::hash::Hash;

/// Where the pages of one version of the tree come from.
pub trait PageSource {
    /// Why a page could not be read. The tree passes it on unread.
    type Error: std::error::Error;

    /// The page at `path`, or `None` if there is none.
    fn page(&self, path: &PagePath) -> Result<Option<Page>, Self::Error>;
}

/// Why the tree could not be read or changed. None of these is ever a peer's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TreeError<E: std::error::Error> {
    /// The source failed.
    #[error("cannot read a page of the state tree")]
    Source(#[source] E),
    /// A page's parent, or the root, says that it exists, but it does not.
    #[error("page {0} of the state tree is missing")]
    Missing(PagePath),
    /// A page is not the one that its parent, or the root, speaks of.
    #[error("page {path} of the state tree is not the one with hash {expected}")]
    Stale {
        /// The page.
        path: PagePath,
        /// What its parent holds, or the root asked for.
        expected: Hash,
    },
    /// A page holds a leaf whose key belongs elsewhere.
    #[error("page {0} of the state tree holds a leaf from elsewhere")]
    Misplaced(PagePath),
    /// The changes given are not strictly ascending by key: a mistake in the caller.
    #[error("changes must be strictly ascending by key")]
    Unsorted,
}

/// The top of the tree with this `root`, and the page below it if there is anything below.
pub(super) fn open<S: PageSource>(source: &S, root: &Hash) -> Result<(Slot, Option<Page>), TreeError<S::Error>> {
    let path = PagePath::ROOT;
    if root.is_zero() {
        return match source.page(&path).map_err(TreeError::Source)? {
            None => Ok((Slot::Empty, None)),
            Some(_) => Err(TreeError::Stale { path, expected: *root }),
        };
    }
    let page = load(source, &path, root)?;
    let top = page.top();
    if top.hash() != *root {
        return Err(TreeError::Stale { path, expected: *root });
    }
    match top {
        // A tree of one leaf: it stands above every page, the root page only keeps it for want of a better place.
        leaf @ Slot::Leaf { .. } => Ok((leaf, None)),
        top @ (Slot::Empty | Slot::Inner(_)) => Ok((top, Some(page))),
    }
}

/// Loads a page that must exist and be the one with this hash.
pub(super) fn load<S: PageSource>(source: &S, path: &PagePath, expected: &Hash) -> Result<Page, TreeError<S::Error>> {
    let page = source.page(path).map_err(TreeError::Source)?.ok_or(TreeError::Missing(*path))?;
    if !page.is_marked(expected) {
        return Err(TreeError::Stale { path: *path, expected: *expected });
    }
    if !page.leaves_belong_to(path) {
        return Err(TreeError::Misplaced(*path));
    }
    Ok(page)
}
