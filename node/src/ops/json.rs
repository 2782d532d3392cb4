//! How values of the ledger stand in the JSON of operations.

/// A block hash, in hexadecimal.
pub(super) mod hash {
    use ledger::hash::BlockHash;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub fn serialize<S: Serializer>(hash: &BlockHash, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(hash)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<BlockHash, D::Error> {
        String::deserialize(d)?.parse().map_err(D::Error::custom)
    }
}

/// A name.
pub(super) mod name {
    use ledger::name::Name;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub fn serialize<S: Serializer>(name: &Name, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(name.as_str())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Name, D::Error> {
        Name::new(&String::deserialize(d)?).map_err(D::Error::custom)
    }
}

/// A transaction, in hexadecimal.
pub(super) mod transaction {
    use ledger::{
        codec::{decode, encode},
        hash::{from_hex, to_hex},
        transaction::Transaction,
    };
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub fn serialize<S: Serializer>(transaction: &Transaction, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&to_hex(&encode(transaction)))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Transaction, D::Error> {
        let bytes = from_hex(&String::deserialize(d)?).ok_or_else(|| D::Error::custom("not hexadecimal"))?;
        decode(&bytes).map_err(D::Error::custom)
    }
}

/// A transaction that may be absent, in hexadecimal.
pub(super) mod optional_transaction {
    use ledger::transaction::Transaction;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    struct Wrapped(#[serde(with = "crate::ops::json::transaction")] Transaction);

    pub fn serialize<S: Serializer>(transaction: &Option<Transaction>, s: S) -> Result<S::Ok, S::Error> {
        transaction.clone().map(Wrapped).serialize(s)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Transaction>, D::Error> {
        Ok(Option::<Wrapped>::deserialize(d)?.map(|wrapped| wrapped.0))
    }
}
