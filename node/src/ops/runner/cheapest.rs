//! The block at which a commit or a renewal costs least, looked for once per tip: it is the same for every operation.

use ledger::{hash::BlockHash, params::Params};
use parking_lot::Mutex;

use crate::{
    chain::ChainView,
    ops::{look, sight::AnchorBlock},
    store::StoreError,
};

/// The answer of the last tip.
#[derive(Default)]
pub(super) struct Cheapest(Mutex<Option<(BlockHash, AnchorBlock)>>);

impl Cheapest {
    /// The cheapest anchor at the tip that `view` shows.
    pub(super) fn at(&self, view: &ChainView<'_>, params: &Params) -> Result<AnchorBlock, StoreError> {
        let tip = view.tip()?.hash;
        let mut kept = self.0.lock();
        if let Some((_, anchor)) = kept.filter(|(of, _)| *of == tip) {
            return Ok(anchor);
        }
        let anchor = look::cheapest_anchor(view, params)?;
        *kept = Some((tip, anchor));
        Ok(anchor)
    }
}
