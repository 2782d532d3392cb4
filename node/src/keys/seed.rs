//! The seed: entropy, its words (BIP39), and the keys below it (BIP32).

use std::{fmt, str::FromStr};

use bip32::{DerivationPath, XPrv};
use bip39::{Language, Mnemonic};
use ledger::{key::SecretKey, params::Network};
use zeroize::Zeroizing;

use super::words::{self, WordsError};

/// Purpose field of the derivation path: the project's p2p port.
const PURPOSE: u32 = 9353;
/// The only account so far.
const ACCOUNT: u32 = 0;

/// How many words stand for a seed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum WordCount {
    /// 128 bits of entropy.
    Twelve,
    /// 256 bits of entropy.
    #[default]
    TwentyFour,
}

impl WordCount {
    const fn entropy_bytes(self) -> usize {
        match self {
            Self::Twelve => 16,
            Self::TwentyFour => 32,
        }
    }
}

/// What a key is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Role {
    /// May do everything with a name.
    Owner,
    /// May change records and renew; may live on a server.
    Operator,
}

impl Role {
    /// The number in paths and files.
    pub const fn number(self) -> u8 {
        match self {
            Self::Owner => 0,
            Self::Operator => 1,
        }
    }

    /// The role with this number.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Owner),
            1 => Some(Self::Operator),
            _ => None,
        }
    }
}

/// The secret that everything derives from.
#[derive(Clone)]
pub struct Seed {
    entropy: Zeroizing<Vec<u8>>,
    bip39_seed: Zeroizing<[u8; 64]>,
}

impl Seed {
    /// A fresh seed from the operating system's randomness.
    pub fn generate(count: WordCount) -> Result<Self, getrandom::Error> {
        let mut entropy = Zeroizing::new(vec![0; count.entropy_bytes()]);
        getrandom::fill(&mut entropy)?;
        Ok(Self::from_entropy(&entropy).expect("the length is one of the two allowed"))
    }

    /// The seed with these 16 or 32 bytes.
    pub fn from_entropy(entropy: &[u8]) -> Option<Self> {
        if !matches!(entropy.len(), 16 | 32) {
            return None;
        }
        let mnemonic = Mnemonic::from_entropy_in(Language::English, entropy).ok()?;
        let bip39_seed = Zeroizing::new(mnemonic.to_seed_normalized(""));
        Some(Self { entropy: Zeroizing::new(entropy.to_vec()), bip39_seed })
    }

    /// The seed with these words, as people write them down and paste them.
    pub fn from_words(text: &str) -> Result<Self, WordsError> {
        let reading = words::read(text)?;
        match (Self::of_words(&reading.written), reading.numbered.and_then(|words| Self::of_words(&words))) {
            (Some(_), Some(_)) => Err(WordsError::Order),
            (Some(seed), None) | (None, Some(seed)) => Ok(seed),
            (None, None) => Err(WordsError::Checksum),
        }
    }

    fn of_words(words: &[&str]) -> Option<Self> {
        let joined = Zeroizing::new(words.join(" "));
        let mnemonic = Mnemonic::parse_in_normalized(Language::English, &joined).ok()?;
        Self::from_entropy(&Zeroizing::new(mnemonic.to_entropy()))
    }

    /// The words, separated by single spaces.
    pub fn words(&self) -> Zeroizing<String> {
        let mnemonic = Mnemonic::from_entropy_in(Language::English, &self.entropy).expect("checked when made");
        Zeroizing::new(mnemonic.words().collect::<Vec<_>>().join(" "))
    }

    /// The entropy behind the words.
    pub fn entropy(&self) -> &[u8] {
        &self.entropy
    }

    /// The key at `m/9353'/coin'/0'/role'/index'`.
    pub fn secret_key(&self, network: Network, role: Role, index: u32) -> SecretKey {
        self.key_at(&derivation_path(network, role, index))
    }

    fn key_at(&self, path: &str) -> SecretKey {
        let path = DerivationPath::from_str(path).expect("paths are made here");
        let extended = XPrv::derive_from_path(&self.bip39_seed[..], &path).expect("fails for one key in 2^127");
        let bytes = Zeroizing::new(extended.to_bytes());
        SecretKey::from_bytes(&bytes).expect("a derived key is below the group order")
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Seed(redacted, {} words)", self.entropy.len() * 3 / 4)
    }
}

/// The path of a key. An index beyond 2^31 − 1 has no hardened child and is folded into range.
pub fn derivation_path(network: Network, role: Role, index: u32) -> String {
    format!("m/{PURPOSE}'/{}'/{ACCOUNT}'/{}'/{}'", coin(network), role.number(), index & 0x7fff_ffff)
}

/// The coin field: one per network, so that a key of the rehearsal never signs for the public ledger.
pub(super) fn coin(network: Network) -> u8 {
    match network.as_str() {
        "main" => 0,
        "test" => 1,
        // Local, and the simulated network of tests.
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use ledger::hash::{from_hex, to_hex};

    use super::*;

    const ABANDON_12: &str =
        "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about";

    fn check_words(entropy: &str, words: &str) {
        let seed = Seed::from_entropy(&from_hex(entropy).expect("hex")).expect("length");
        assert_eq!(*seed.words(), words);
        assert_eq!(to_hex(Seed::from_words(words).expect("valid").entropy()), entropy);
    }

    /// Vectors published with BIP39 (trezor/python-mnemonic).
    #[test]
    fn bip39_words() {
        check_words("00000000000000000000000000000000", ABANDON_12);
        check_words(
            "7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f7f",
            "legal winner thank year wave sausage worth useful legal winner thank yellow",
        );
        check_words(
            "68a79eaca2324873eacc50cb9c6eca8cc68ea5d936f98787c60c7ebc74e6ce7c",
            "hamster diagram private dutch cause delay private meat slide toddler razor book happy fancy gospel \
             tennis maple dilemma loan word shrug inflict delay length",
        );
        check_words(
            "f585c11aec520db57dd353c69554b21a89b20fb0650966fa0a9d6f74fd989d8f",
            "void come effort suffer camp survey warrior heavy shoot primary clutch crush open amazing screen patrol \
             group space point ten exist slush involve unfold",
        );
    }

    #[test]
    fn bip39_seed_and_bip32_master() {
        let seed = Seed::from_words(ABANDON_12).expect("valid");
        let expected = "5eb00bbddcf069084889a8ab9155568165f5c453ccb85e70811aaed6f6da5fc1\
                        9a5ac40b389cd370d086206dec8aa6c43daea6690f20ad3d8d48b2d2ce9e38e4";
        assert_eq!(to_hex(&seed.bip39_seed[..]), expected);
        // The first account key of BIP44 for the same words, as printed by many wallets (m/44'/0'/0'/0/0).
        let public = seed.key_at("m/44'/0'/0'/0/0").public();
        assert_eq!(public.to_string(), "03aaeb52dd7494c361049de67cc680e83ebcbbbdbeb13637d92cd845f70308af5e");
    }

    /// BIP32 test vector 1, the hardened chain m/0'.
    #[test]
    fn bip32_vector_1() {
        let master = from_hex("000102030405060708090a0b0c0d0e0f").expect("hex");
        let path = DerivationPath::from_str("m/0'").expect("path");
        let key = XPrv::derive_from_path(&master, &path).expect("valid");
        assert_eq!(to_hex(&key.to_bytes()), "edb2e14f9ee77d26dd93b4ecede8d16ed408ce149b6cd80b0715a2d911a0afea");
    }

    #[test]
    fn keys_differ_by_network_role_and_index() {
        let seed = Seed::from_words(ABANDON_12).expect("valid");
        let keys = [
            seed.secret_key(Network::Main, Role::Owner, 0).public(),
            seed.secret_key(Network::Test, Role::Owner, 0).public(),
            seed.secret_key(Network::Local, Role::Owner, 0).public(),
            seed.secret_key(Network::Main, Role::Operator, 0).public(),
            seed.secret_key(Network::Main, Role::Owner, 1).public(),
        ];
        let unique: std::collections::BTreeSet<_> = keys.iter().collect();
        assert_eq!(unique.len(), keys.len());
        assert_eq!(derivation_path(Network::Test, Role::Operator, 7), "m/9353'/1'/0'/1'/7'");
    }

    /// Paths may never change: a changed path would hide every name from its owner's words.
    #[test]
    fn golden_key() {
        let seed = Seed::from_words(ABANDON_12).expect("valid");
        let public = seed.secret_key(Network::Main, Role::Owner, 0).public();
        assert_eq!(public.to_string(), "027e761486bb383859f75d2cf9e244dc0723ca57f2d6a0a6c9621b45465c4f3c9c");
    }

    #[test]
    fn wrong_words_say_which_and_why() {
        let check = |words: &str, expected: WordsError| assert_eq!(Seed::from_words(words).err(), Some(expected));
        check("abandon about", WordsError::Count(2));
        check(&ABANDON_12.replace("about", "abuot"), WordsError::Unknown { position: 12, suggestion: Some("about") });
        check(&ABANDON_12.replace("about", "zzzzzzzzz"), WordsError::Unknown { position: 12, suggestion: None });
        check(&ABANDON_12.replace("about", "abandon"), WordsError::Checksum);
        assert!(Seed::from_words(&format!("  {}\n", ABANDON_12.to_uppercase())).is_ok());
    }

    /// Printed in columns, with a number before each word; and with the numbers behind, where they say nothing of the next.
    #[test]
    fn words_with_numbers() {
        let words = "legal winner thank year wave sausage worth useful legal winner thank yellow";
        let seed = Seed::from_words(words).expect("valid");
        let list: Vec<&str> = words.split(' ').collect();
        let columns = (0..4).flat_map(|row| (0..3).map(move |column| row + 4 * column));
        let columns: String = columns.map(|at| format!("{}. {} ", at + 1, list[at])).collect();
        let behind: String = list.iter().enumerate().map(|(at, word)| format!("{word} {}\n", at + 1)).collect();
        for text in [columns, behind.clone(), format!("12\n{behind}")] {
            assert_eq!(Seed::from_words(&text).expect(&text).entropy(), seed.entropy());
        }
        // Both orders are seeds: no guess is made.
        let rotated = (0..2048_u16).map(u16::to_be_bytes).find_map(|start| {
            let entropy = [&start[..], &[9; 14]].concat();
            let words = Seed::from_entropy(&entropy)?.words();
            let list: Vec<&str> = words.split(' ').collect();
            let rotated = [&list[1..], &list[..1]].concat();
            Seed::of_words(&rotated)?;
            Some(format!(
                "12 {}",
                list.iter().enumerate().map(|(at, word)| format!("{word} {} ", at + 1)).collect::<String>()
            ))
        });
        assert_eq!(Seed::from_words(&rotated.expect("one of sixteen")).err(), Some(WordsError::Order));
    }

    #[test]
    fn secrets_are_not_printed() {
        let seed = Seed::from_words(ABANDON_12).expect("valid");
        let shown = format!("{seed:?} {:?}", seed.secret_key(Network::Main, Role::Owner, 0));
        assert!(!shown.contains("abandon") && !shown.contains("000000"), "{shown}");
    }

    #[test]
    fn fresh_seeds_differ() {
        let [a, b] = [WordCount::Twelve, WordCount::TwentyFour].map(|n| Seed::generate(n).expect("randomness"));
        assert_eq!((a.words().split(' ').count(), b.words().split(' ').count()), (12, 24));
        assert_ne!(*a.words(), *Seed::generate(WordCount::Twelve).expect("randomness").words());
    }
}
