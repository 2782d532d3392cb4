//! The reference: protocol §4.2, §4.3, §5.1, §5.2 and §6 as plain code on plain maps.

use std::collections::{BTreeMap, BTreeSet};

use ledger::{
    hash::{Hash, Tag, hash},
    transaction::{Body, RevokeMode},
};

pub type Bytes32 = [u8; 32];

/// The constants of the tests' network, written down again.
pub const MATURITY: u32 = 2;
pub const CONTEST: u32 = 4;
pub const COMMIT_TTL: u32 = 16;
pub const TERM: u32 = 40;
pub const RENEW_WINDOW: u32 = 12;
pub const GRACE: u32 = 10;
pub const TRANSFER_DELAY: u32 = 5;
pub const RELEASE_DELAY: u32 = 6;
pub const BURN_LOCK: u32 = 30;
pub const DELETE_AFTER: u32 = 16;
pub const ANCHOR_WINDOW: u32 = 12;

#[derive(Clone, Debug)]
pub struct Entry {
    pub revoked: bool,
    pub burnt: bool,
    pub seq: u64,
    pub commit_height: u32,
    pub tie: [u8; 16],
    pub registered: u32,
    pub active_from: u32,
    pub not_before: u32,
    pub expires_at: u32,
    pub last_update: u32,
    pub owner: Bytes32,
    pub operator: Bytes32,
    pub moving: Option<(Bytes32, Bytes32, u32)>,
    pub records: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
pub struct Paid {
    pub height: u32,
    pub spent: bool,
}

/// A transaction, as far as the rules on names look at it.
pub struct Meaning<'a> {
    pub body: &'a Body,
    pub signer: Bytes32,
    pub anchor_height: u32,
}

#[derive(Clone, Debug, Default)]
pub struct Reference {
    pub names: BTreeMap<String, Entry>,
    pub commits: BTreeMap<(u8, Bytes32), Paid>,
    pub chain_id: Bytes32,
    /// Hashes of the blocks so far, genesis first.
    pub hashes: Vec<Bytes32>,
}

impl Entry {
    pub fn release(&self) -> u32 {
        if self.revoked { self.expires_at } else { self.expires_at + GRACE }
    }

    pub fn deletion(&self) -> u32 {
        self.release() + DELETE_AFTER
    }

    pub fn is_released(&self, h: u32) -> bool {
        h >= self.release()
    }

    pub fn is_pending(&self, h: u32) -> bool {
        !self.revoked && h < self.active_from
    }

    fn is_active(&self, h: u32) -> bool {
        !self.revoked && self.active_from <= h && h < self.expires_at
    }

    fn is_grace(&self, h: u32) -> bool {
        !self.revoked && self.expires_at <= h && h < self.expires_at + GRACE && self.active_from <= h
    }

    pub fn folded(&self, h: u32) -> Self {
        match self.moving {
            Some((owner, operator, at)) if at <= h => Self { owner, operator, moving: None, ..self.clone() },
            _ => self.clone(),
        }
    }
}

/// What one block does.
#[derive(Default)]
pub struct Writes {
    touched_names: BTreeSet<String>,
    touched_commits: BTreeSet<(u8, Bytes32)>,
}

impl Reference {
    pub fn next_height(&self) -> u32 {
        self.hashes.len() as u32
    }

    /// Deletes what is due; what it deletes cannot be touched again in this block.
    pub fn begin(&mut self) -> Writes {
        let h = self.next_height();
        let mut writes = Writes::default();
        for (name, entry) in std::mem::take(&mut self.names) {
            if entry.deletion() == h {
                writes.touched_names.insert(name);
            } else {
                self.names.insert(name, entry);
            }
        }
        for (key, paid) in std::mem::take(&mut self.commits) {
            if paid.height + COMMIT_TTL + 1 == h {
                writes.touched_commits.insert(key);
            } else {
                self.commits.insert(key, paid);
            }
        }
        writes
    }

    /// Deletions of the next block: names and commits.
    pub fn due(&self) -> (usize, usize) {
        let mut copy = self.clone();
        let writes = copy.begin();
        (writes.touched_names.len(), writes.touched_commits.len())
    }

    /// Applies one transaction of the next block, or says no.
    pub fn apply(&mut self, writes: &mut Writes, tx: &Meaning<'_>) -> Result<(), &'static str> {
        let h = self.next_height();
        let anchor_fits = match tx.body {
            Body::Reveal { .. } => tx.anchor_height == 0,
            _ => tx.anchor_height < h && h - tx.anchor_height <= ANCHOR_WINDOW,
        };
        if !anchor_fits {
            return Err("anchor");
        }
        match tx.body {
            Body::Commit { class, commit_hash } => {
                let key = (*class, commit_hash.0);
                if !writes.touched_commits.insert(key) {
                    return Err("commit touched");
                }
                if self.commits.contains_key(&key) {
                    return Err("commit exists");
                }
                self.commits.insert(key, Paid { height: h, spent: false });
                Ok(())
            }
            Body::Reveal { .. } => self.reveal(writes, tx),
            Body::Claim { .. } | Body::Roll { .. } => Err("not active"),
            body => {
                let name = body.name().ok_or("no name")?.as_str().to_owned();
                if !writes.touched_names.insert(name.clone()) {
                    return Err("name touched");
                }
                let entry = self.names.get(&name).ok_or("no such name")?.folded(h);
                let changed = match body {
                    Body::Renew { expires_at, .. } => renew(entry, h, *expires_at)?,
                    _ => change(entry, h, tx)?,
                };
                self.names.insert(name, changed);
                Ok(())
            }
        }
    }

    fn reveal(&mut self, writes: &mut Writes, tx: &Meaning<'_>) -> Result<(), &'static str> {
        let h = self.next_height();
        let Body::Reveal { class, name, salt, owner, operator, records } = tx.body else { return Err("not a reveal") };
        let blinded = {
            let length = [name.as_bytes().len() as u8];
            hash(Tag::Commit, &[&self.chain_id, salt, &owner.0, &length, name.as_bytes()]).0
        };
        let key = (*class, blinded);
        let name = name.as_str().to_owned();
        if !writes.touched_commits.insert(key) || !writes.touched_names.insert(name.clone()) {
            return Err("touched");
        }
        let paid = *self.commits.get(&key).ok_or("no commit")?;
        if paid.spent || h < paid.height + MATURITY || h > paid.height + COMMIT_TTL || tx.signer != owner.0 {
            return Err("commit cannot be used");
        }
        let digest = hash(Tag::Tie, &[&blinded, &self.hashes[paid.height as usize]]);
        let mut tie = [0; 16];
        tie.copy_from_slice(&digest.0[..16]);
        let mut new = Entry {
            revoked: false,
            burnt: false,
            seq: 1,
            commit_height: paid.height,
            tie,
            registered: h,
            active_from: h + CONTEST,
            not_before: 0,
            expires_at: h + TERM,
            last_update: h,
            owner: owner.0,
            operator: operator.0,
            moving: None,
            records: records.to_bytes(),
        };
        if let Some(old) = self.names.get(&name) {
            new.seq = old.seq + 1;
            if old.is_released(h) {
                new.not_before = old.release();
            } else if old.is_pending(h) {
                if (paid.height, tie) >= (old.commit_height, old.tie) {
                    return Err("later");
                }
                (new.active_from, new.expires_at, new.not_before) = (old.active_from, old.expires_at, old.not_before);
            } else {
                return Err("taken");
            }
            if paid.height < new.not_before {
                return Err("prepared");
            }
        }
        self.commits.insert(key, Paid { spent: true, ..paid });
        self.names.insert(name, new);
        Ok(())
    }

    /// Every entry as (key, bytes), by the layouts of §5.1.
    pub fn leaves(&self) -> BTreeMap<Bytes32, Vec<u8>> {
        let names = self
            .names
            .iter()
            .map(|(name, entry)| (hash(Tag::Key, &[&[1], name.as_bytes()]).0, entry_bytes(name, entry)));
        let commits = self.commits.iter().map(|((class, commit), paid)| {
            let mut bytes = vec![2, *class];
            bytes.extend(commit);
            bytes.extend(paid.height.to_le_bytes());
            bytes.push(u8::from(paid.spent));
            (hash(Tag::Key, &[&[2, *class], commit]).0, bytes)
        });
        names.chain(commits).collect()
    }
}

fn renew(mut s: Entry, h: u32, expires_at: u32) -> Result<Entry, &'static str> {
    let in_window = h + RENEW_WINDOW >= s.expires_at && (s.is_active(h) || s.is_grace(h));
    if !in_window || expires_at != s.expires_at {
        return Err("renewal");
    }
    s.expires_at += TERM;
    s.last_update = h;
    Ok(s)
}

fn change(mut s: Entry, h: u32, tx: &Meaning<'_>) -> Result<Entry, &'static str> {
    let (active, grace) = (s.is_active(h), s.is_grace(h));
    let is_owner = tx.signer == s.owner;
    let is_operator = tx.signer == s.operator && s.operator != [0; 32];
    let (may_sign, status_fits, seq) = match tx.body {
        Body::Update { seq, operator, records, .. } => {
            (is_owner || is_operator && operator.is_none() && records.is_some(), active || grace, *seq)
        }
        Body::Transfer { seq, .. } => (is_owner, active, *seq),
        Body::Cancel { seq, .. } => (is_owner, active || grace, *seq),
        Body::Revoke { seq, mode, .. } => {
            let answers_release = *mode == RevokeMode::Burn && s.revoked && !s.burnt && !s.is_released(h);
            (is_owner, active || grace || answers_release, *seq)
        }
        _ => return Err("not a change"),
    };
    if !status_fits {
        return Err("status");
    }
    if !may_sign {
        return Err("signer");
    }
    let step = seq.checked_sub(s.seq).ok_or("seq")?;
    if step == 0 || step > if is_owner { 65_536 } else { 1 } {
        return Err("seq");
    }
    match tx.body {
        Body::Update { operator, records, .. } => {
            if let Some(operator) = operator {
                s.operator = operator.0;
            }
            if let Some(records) = records {
                s.records = records.to_bytes();
            }
        }
        Body::Transfer { owner, operator, .. } => s.moving = Some((owner.0, operator.0, h + TRANSFER_DELAY)),
        Body::Cancel { .. } => {
            if s.moving.take().is_none() {
                return Err("nothing to cancel");
            }
        }
        Body::Revoke { mode, .. } => {
            s.revoked = true;
            s.burnt |= *mode == RevokeMode::Burn;
            s.moving = None;
            s.operator = [0; 32];
            s.records = vec![0];
            s.expires_at = match mode {
                RevokeMode::Burn => (s.expires_at + GRACE).max(h + BURN_LOCK),
                RevokeMode::Release => h + RELEASE_DELAY,
            };
        }
        _ => return Err("not a change"),
    }
    s.seq = seq;
    s.last_update = h;
    Ok(s)
}

fn entry_bytes(name: &str, e: &Entry) -> Vec<u8> {
    let mut b = vec![1, name.len() as u8];
    b.extend(name.as_bytes());
    b.push(u8::from(e.revoked) | u8::from(e.burnt) << 3);
    b.extend(e.seq.to_le_bytes());
    b.extend(e.commit_height.to_le_bytes());
    b.extend(e.tie);
    for height in [e.registered, e.active_from, e.not_before, e.expires_at, e.last_update] {
        b.extend(height.to_le_bytes());
    }
    b.extend(e.owner);
    b.extend(e.operator);
    match e.moving {
        None => b.push(0),
        Some((owner, operator, at)) => {
            b.push(1);
            b.extend(owner);
            b.extend(operator);
            b.extend(at.to_le_bytes());
        }
    }
    b.push(0);
    b.extend((e.records.len() as u16).to_le_bytes());
    b.extend(&e.records);
    b
}

/// §5.2, word for word.
pub fn root(leaves: &[(Bytes32, Vec<u8>)], depth: usize) -> Hash {
    match leaves {
        [] => Hash([0; 32]),
        [(key, value)] => hash(Tag::Leaf, &[key, hash(Tag::Value, &[value]).as_ref()]),
        _ => {
            let ones = leaves.partition_point(|(key, _)| key[depth / 8] >> (7 - depth % 8) & 1 == 0);
            let (left, right) = leaves.split_at(ones);
            hash(Tag::Node, &[root(left, depth + 1).as_ref(), root(right, depth + 1).as_ref()])
        }
    }
}

/// §4.4 in signed arithmetic, on a network without a launch price.
pub fn next_price(price: u32, used: u64, target: u64, most: u64) -> u32 {
    let (p, used, target) = (i128::from(price), i128::from(used), i128::from(target));
    let moved = if used > target {
        p + (p * (used - target).min(target) / target / 64).max(1)
    } else if used < target {
        p - (p * (target - used) / target / 64).max(1)
    } else {
        p
    };
    moved.clamp(256, i128::from(most)) as u32
}
