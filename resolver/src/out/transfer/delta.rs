//! What leads from one version of the zone to another (RFC 1995 §4), condensed to one difference.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use ledger::name::Name;

use super::zone::{ZoneRecord, records_of};
use crate::names::{
    records::RecordsRef,
    source::NameView as _,
    table::{Published, Step, Table},
    view::{Entry, EntryRef},
};

/// Names that an increment may concern although they are more than half of the zone.
const ALWAYS_WORTH: usize = 100;

/// The names that may differ between two versions, with what they were in the older one.
pub(crate) struct Delta {
    table: Arc<Table>,
    height: u32,
    names: Vec<(Name, Option<Entry>)>,
}

impl Delta {
    /// From the version that `is_known` recognises to the newest. `None` if it is not remembered, or if the whole zone
    /// is shorter.
    pub(crate) fn since(published: &Published, is_known: impl Fn(&Step) -> bool) -> Option<Self> {
        let first = published.steps.iter().rposition(|step| is_known(step))?;
        let steps = &published.steps[first..];
        let touched: usize = steps.iter().map(|step| step.touched.len()).sum();
        let names = usize::try_from(published.table.facts().names).unwrap_or(usize::MAX);
        if touched > ALWAYS_WORTH.max(names / 2) {
            return None;
        }
        // What a name was before it was touched first is what it was in the older version.
        let mut names = HashMap::with_capacity(touched);
        for (name, was) in steps.iter().flat_map(|step| &step.touched) {
            names.entry(name).or_insert(was);
        }
        let names = names.into_iter().map(|(name, was)| (name.clone(), was.clone())).collect();
        Some(Self { table: published.table.clone(), height: steps[0].height, names })
    }

    /// Records of the older version that the newer does not hold.
    pub(crate) fn deleted(self: Arc<Self>) -> impl Iterator<Item = ZoneRecord> + Send {
        (0..self.names.len()).flat_map(move |index| missing(self.then(index), self.now(index)))
    }

    /// Records of the newer version that the older did not hold.
    pub(crate) fn added(self: Arc<Self>) -> impl Iterator<Item = ZoneRecord> + Send {
        (0..self.names.len()).flat_map(move |index| missing(self.now(index), self.then(index)))
    }

    fn then(&self, index: usize) -> Vec<ZoneRecord> {
        let (name, was) = &self.names[index];
        let entry =
            was.as_ref().map(|was| EntryRef { life: was.life, records: RecordsRef::new(was.records.as_bytes()) });
        entry.map(|entry| records_of(name.as_bytes(), entry, self.height)).unwrap_or_default()
    }

    fn now(&self, index: usize) -> Vec<ZoneRecord> {
        let name = &self.names[index].0;
        let entry = self.table.find(name.as_bytes());
        entry.map(|entry| records_of(name.as_bytes(), entry, self.table.facts().height)).unwrap_or_default()
    }
}

/// What is in `of` and not in `other`.
fn missing(of: Vec<ZoneRecord>, other: Vec<ZoneRecord>) -> impl Iterator<Item = ZoneRecord> {
    let other: HashSet<ZoneRecord> = other.into_iter().collect();
    of.into_iter().filter(move |record| !other.contains(record))
}
