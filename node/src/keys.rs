//! The owner's keys: words, the keys that grow from them, and the encrypted file that holds them.
//!
//! Everything that owns a name derives from one *seed* of 12 or 24 BIP39 words, so the words alone restore every name
//! and finish every registration (the salt of a commit derives from the key and the height, protocol §4.3). The file adds comfort
//! only: which key was made for which name. The daemon never reads it; `namectl` signs and the daemon carries.
//!
//! Keys follow BIP32 at `m/9353'/coin'/account'/role'/index'`, every step hardened, so that one leaked key reveals no
//! other: 9353 is this project's p2p port, `coin` is 0 main, 1 test, 2 local, `account` is 0 for now, `role` is 0
//! owner, 1 operator, and `index` counts names. After a restore the indices are asked of a node by owner address
//! until [`GAP_LIMIT`] in a row are unknown to it.
//!
//! Guarantees: secrets are never printed by `Debug` and are zeroed when dropped; a file is replaced whole or not at
//! all, where it really is if a link leads there; programs that change it at the same time wait for each other; a file that
//! was cut, changed or made by something else is refused and left as it is.

mod attempt;
mod file;
mod passphrase;
mod seed;
mod vault;
mod wallet;
mod words;

pub use attempt::{Attempt, Attempts, NEWEST_ATTEMPTS, Standing};
pub use file::{FileError, KeyFile};
pub use passphrase::Passphrase;
pub use seed::{Role, Seed, WordCount, derivation_path};
pub use vault::{KdfCost, VaultError};
pub use wallet::{Entry, GAP_LIMIT, MAX_ENTRIES, Wallet, WalletError};
pub use words::WordsError;
