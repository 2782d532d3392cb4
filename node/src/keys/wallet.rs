//! What the key file holds once opened: the seed and which key was made for which name.
//!
//! ```text
//! version:u8 (1)  entropy:B8 (16 or 32)  next_count:u8 { coin:u8 role:u8 index:u32 }…  count:u16 { coin:u8 role:u8 index:u32 name:B8 }…
//! ```
//! Both lists ascend strictly by (coin, role, index), so one wallet has one encoding. A name is at most one DNS label;
//! an entry without a name is a key handed out as an address, to receive a name.

use ledger::{
    codec::{Decode, DecodeError, Encode, Reader, Writer},
    key::{Policy, SecretKey, to_address},
    name::{MAX_NAME_BYTES, Name},
    params::Network,
};

use super::seed::{Role, Seed, coin};

/// Most entries in a wallet: bounds what a forged file makes us allocate; nobody types this many names.
pub const MAX_ENTRIES: usize = 10_000;
/// How many unused indices in a row end the search after a restore. Indices are handed out in order; gaps come from
/// registrations that were given up, and from addresses that nobody used. BIP44 takes 20, which is soon reached.
pub const GAP_LIMIT: u32 = 100;
/// Version of the layout above.
const VERSION: u8 = 1;
/// Counters: three networks times two roles.
const MAX_COUNTERS: usize = 6;

/// A key that was handed out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Role in the derivation path.
    pub role: Role,
    /// Index in the derivation path.
    pub index: u32,
    /// The name it was made for; `None` for an address to receive a name at.
    pub name: Option<Name>,
}

/// The wallet cannot do this.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WalletError {
    /// [`MAX_ENTRIES`] keys were handed out.
    #[error("the wallet is full: it keeps at most {MAX_ENTRIES} keys")]
    Full,
}

type Place = (u8, u8, u32);

/// A seed and the keys handed out from it.
#[derive(Clone, Debug)]
pub struct Wallet {
    seed: Seed,
    next: std::collections::BTreeMap<(u8, u8), u32>,
    entries: std::collections::BTreeMap<Place, Option<Name>>,
}

impl Wallet {
    /// A wallet from which no key was handed out yet.
    pub fn new(seed: Seed) -> Self {
        Self { seed, next: Default::default(), entries: Default::default() }
    }

    /// The seed.
    pub fn seed(&self) -> &Seed {
        &self.seed
    }

    /// The keys handed out on one network, by role and index.
    pub fn entries(&self, network: Network) -> impl Iterator<Item = Entry> + '_ {
        let wanted = coin(network);
        self.entries.iter().filter(move |((c, ..), _)| *c == wanted).map(|((_, role, index), name)| Entry {
            role: Role::from_number(*role).expect("roles are checked when read"),
            index: *index,
            name: name.clone(),
        })
    }

    /// The secret key of an entry.
    pub fn secret_key(&self, network: Network, role: Role, index: u32) -> SecretKey {
        self.seed.secret_key(network, role, index)
    }

    /// The address of an entry's key alone.
    pub fn address(&self, network: Network, role: Role, index: u32) -> String {
        let public = self.secret_key(network, role, index).public();
        to_address(network.params(), &Policy::single(public).hash())
    }

    /// The index of the newest owner key made for `name`.
    pub fn owner_index_of(&self, network: Network, name: &Name) -> Option<u32> {
        let made = self.entries(network).filter(|entry| entry.role == Role::Owner && entry.name.as_ref() == Some(name));
        made.last().map(|entry| entry.index)
    }

    /// The index of the owner key for `name`: the newest made for it before, or else the next unused one. The same name
    /// gets the same key, so an interrupted registration can be taken up again.
    pub fn index_for(&mut self, network: Network, name: &Name) -> Result<u32, WalletError> {
        match self.owner_index_of(network, name) {
            Some(index) => Ok(index),
            None => self.hand_out(network, Role::Owner, Some(name.clone())),
        }
    }

    /// How many of the newest owner keys were handed out as mere addresses and are not known to have received a name.
    pub fn unused_addresses(&self, network: Network) -> u32 {
        let place = |index| (coin(network), Role::Owner.number(), index);
        let newest = self.entries.range(place(0)..=place(u32::MAX)).rev();
        newest.take_while(|(_, name)| name.is_none()).count() as u32
    }

    /// Hands out the next unused key.
    pub fn hand_out(&mut self, network: Network, role: Role, name: Option<Name>) -> Result<u32, WalletError> {
        let index = self.next.get(&(coin(network), role.number())).copied().unwrap_or(0);
        self.record(network, role, index, name)?;
        Ok(index)
    }

    /// Notes that a key is in use, as found on the ledger after a restore or a transfer.
    pub fn record(&mut self, network: Network, role: Role, index: u32, name: Option<Name>) -> Result<(), WalletError> {
        if self.entries.len() >= MAX_ENTRIES {
            return Err(WalletError::Full);
        }
        let (c, r) = (coin(network), role.number());
        self.entries.insert((c, r, index), name);
        let next = self.next.entry((c, r)).or_insert(0);
        *next = (*next).max(index + 1);
        Ok(())
    }

    /// The first index that was never handed out.
    pub fn next_index(&self, network: Network, role: Role) -> u32 {
        self.next.get(&(coin(network), role.number())).copied().unwrap_or(0)
    }
}

impl Encode for Wallet {
    fn encode(&self, w: &mut Writer) {
        w.u8(VERSION).b8(self.seed.entropy()).u8(self.next.len() as u8);
        for ((coin, role), index) in &self.next {
            w.u8(*coin).u8(*role).u32(*index);
        }
        w.u16(self.entries.len() as u16);
        for ((coin, role, index), name) in &self.entries {
            w.u8(*coin).u8(*role).u32(*index).b8(name.as_ref().map(Name::as_bytes).unwrap_or_default());
        }
    }
}

impl Decode for Wallet {
    const MAX_BYTES: usize = 1 + 33 + 1 + 6 * MAX_COUNTERS + 2 + (7 + MAX_NAME_BYTES) * MAX_ENTRIES;

    fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        if r.u8("wallet version")? != VERSION {
            return Err(DecodeError::Invalid("wallet version"));
        }
        let seed = Seed::from_entropy(r.b8(32, "entropy")?).ok_or(DecodeError::Invalid("entropy"))?;
        let mut wallet = Self::new(seed);
        for _ in 0..r.u8("counter count")? {
            let (coin, role, index) = read_place(r)?;
            wallet.next.insert((coin, role), index);
        }
        let count = usize::from(r.u16("entry count")?);
        if count > MAX_ENTRIES {
            return Err(DecodeError::Invalid("entry count"));
        }
        for _ in 0..count {
            let place = read_place(r)?;
            wallet.entries.insert(place, read_name(r)?);
        }
        Ok(wallet)
    }
}

fn read_place(r: &mut Reader<'_>) -> Result<Place, DecodeError> {
    let (coin, role, index) = (r.u8("coin")?, r.u8("role")?, r.u32("index")?);
    if coin > 2 || Role::from_number(role).is_none() || index > 0x7fff_ffff {
        return Err(DecodeError::Invalid("key place"));
    }
    Ok((coin, role, index))
}

fn read_name(r: &mut Reader<'_>) -> Result<Option<Name>, DecodeError> {
    let bytes = r.b8(MAX_NAME_BYTES, "name")?;
    if bytes.is_empty() {
        return Ok(None);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| DecodeError::Invalid("name"))?;
    Name::new(text).map(Some).map_err(|_| DecodeError::Invalid("name"))
}

#[cfg(test)]
mod tests {
    use ledger::codec::{decode, encode};
    use proptest::prelude::*;

    use super::*;

    fn wallet() -> Wallet {
        Wallet::new(Seed::from_entropy(&[7; 16]).expect("length"))
    }

    fn name(text: &str) -> Name {
        Name::new(text).expect("valid")
    }

    #[test]
    fn one_key_per_name_and_the_same_again() {
        let mut w = wallet();
        assert_eq!(w.index_for(Network::Local, &name("alice")), Ok(0));
        assert_eq!(w.index_for(Network::Local, &name("bob")), Ok(1));
        assert_eq!(w.index_for(Network::Local, &name("alice")), Ok(0));
        assert_eq!(w.index_for(Network::Main, &name("alice")), Ok(0), "networks count apart");
        assert_eq!(w.hand_out(Network::Local, Role::Owner, None), Ok(2));
        assert_eq!(w.hand_out(Network::Local, Role::Operator, None), Ok(0));
        w.record(Network::Local, Role::Owner, 9, Some(name("carol"))).expect("room");
        assert_eq!(w.next_index(Network::Local, Role::Owner), 10);
    }

    #[test]
    fn the_bytes_round_trip() {
        let mut w = wallet();
        w.index_for(Network::Test, &name("alice")).expect("room");
        w.hand_out(Network::Main, Role::Operator, None).expect("room");
        let bytes = encode(&w);
        let again: Wallet = decode(&bytes).expect("canonical");
        assert_eq!(encode(&again), bytes);
        assert_eq!(again.entries(Network::Test).collect::<Vec<_>>(), w.entries(Network::Test).collect::<Vec<_>>());
        for cut in 0..bytes.len() {
            assert!(decode::<Wallet>(&bytes[..cut]).is_err(), "{cut}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))] // Each valid seed costs 2,048 rounds of HMAC.

        /// Whatever decodes is canonical, and nothing makes the decoder panic.
        #[test]
        fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(wallet) = decode::<Wallet>(&bytes) {
                prop_assert_eq!(encode(&wallet), bytes);
            }
        }

        /// The same, starting from a valid encoding with one byte changed.
        #[test]
        fn one_changed_byte(at in 0usize..60, to: u8) {
            let mut w = wallet();
            w.index_for(Network::Test, &name("alice")).expect("room");
            let mut bytes = encode(&w);
            let at = at % bytes.len();
            bytes[at] = to;
            if let Ok(wallet) = decode::<Wallet>(&bytes) {
                prop_assert_eq!(encode(&wallet), bytes);
            }
        }
    }
}
