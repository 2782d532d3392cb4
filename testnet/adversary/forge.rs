//! Headers and blocks with real work, on any parent. On network `local` that is SHA3 and takes a fraction of a second.

use ledger::{
    block::{Block, Header},
    hash::Hash,
    params::{Network, Params},
    pow::from_compact,
    rules::{
        block::{Content, assemble},
        header::HeaderContext,
    },
    testing::build::search,
};
use tokio::task::block_in_place;

/// The network that is attacked, with its CHAIN_ID.
#[derive(Clone, Copy)]
pub struct Forge {
    /// The network's constants.
    pub params: &'static Params,
    /// Its CHAIN_ID.
    pub chain_id: Hash,
}

impl Forge {
    /// For network `local`.
    pub fn local() -> Self {
        let params = Network::Local.params();
        Self { params, chain_id: params.chain_id() }
    }

    /// The earliest time of a child.
    pub fn earliest(&self, parent: &HeaderContext) -> u64 {
        parent.header().core.time + u64::from(self.params.min_gap)
    }

    /// A header of an empty block on `parent` at `time`, with its work done, and what its children need. `root` is the
    /// state root that it states; `salt` tells it from others like it.
    pub fn header(&self, parent: &HeaderContext, time: u64, root: Hash, salt: u64) -> HeaderContext {
        let mut tag = [0; 32];
        tag[..8].copy_from_slice(&salt.to_le_bytes());
        let (content, names) = (Content::of([]), parent.header().ext.name_count);
        let header = assemble(self.params, parent, time, &content, names, root, Hash(tag));
        HeaderContext::stored(self.seal(header), parent.total_work(), parent.peaks())
    }

    /// A header that states its parent's state root: right if nothing expires in it.
    pub fn plain_header(&self, parent: &HeaderContext, time: u64, salt: u64) -> HeaderContext {
        self.header(parent, time, parent.header().ext.state_root, salt)
    }

    fn seal(&self, mut header: Header) -> Header {
        let target = from_compact(header.core.bits).expect("the schedule gives canonical bits");
        block_in_place(|| search(self.params, &self.chain_id, &mut header.core, |value| value <= target));
        header
    }
}

/// The empty block of a header.
pub fn empty_block(header: &HeaderContext) -> Block {
    Block { header: *header.header(), transactions: Vec::new() }
}
