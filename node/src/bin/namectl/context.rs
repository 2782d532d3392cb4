//! What every command works with: settings, the node, the keys, the printer.

use std::{cell::OnceCell, collections::BTreeSet, future::Future, path::PathBuf, time::Duration};

use clap::ArgMatches;
use ledger::{
    hash::{BlockHash, Hash},
    name::Name,
    params::{Network, Params},
    price::Prices,
    transaction::Anchor,
};
use node::{
    api::{
        client::{Client, Endpoint, NameQuery},
        types::{NameAnswer, NameList, Status, SyncState},
    },
    keys::{Entry, GAP_LIMIT, KeyFile, Role},
    owner::read_unlinked,
    zone::Origin,
};

use crate::{
    ask,
    cli::Globals,
    config::{Setting, Settings, user_folder},
    failure::{Exit, Failure},
    label::{self, Suffixes, Typed},
    output::{Output, Style, span},
};

/// Longest wait for one answer of the node; it answers from memory.
const CALL_TIMEOUT: Duration = Duration::from_secs(20);
/// A token has 65 bytes.
const MAX_TOKEN_BYTES: u64 = 4_096;

/// Settings, node, keys and printer of one run.
pub struct Context {
    pub globals: Globals,
    pub settings: Vec<Setting>,
    pub out: Output,
    pub network: Network,
    pub suffix: String,
    pub client: Client,
    runtime: tokio::runtime::Runtime,
    /// Set once the user was told that answers are old.
    warned: OnceCell<()>,
}

/// The block that a transaction is made for.
#[derive(Clone, Copy, Debug)]
pub struct AnchorBlock {
    pub anchor: Anchor,
    pub hash: BlockHash,
    pub prices: Prices,
}

impl Context {
    pub fn new(globals: &Globals, matches: &ArgMatches) -> Result<Self, Failure> {
        let Settings { mut globals, suffix, color, list } = Settings::resolve(globals, matches)?;
        globals.color = Some(color);
        let out = Output::new(&globals, color);
        let network = globals.network.as_deref().unwrap_or("main");
        let network: Network = network.parse().map_err(|error: ledger::params::UnknownNetwork| {
            Failure::new(Exit::Usage, "unknown_network", error.to_string()).fix("--network main, test or local")
        })?;
        let client = client(&globals, network)?;
        out.detail(&format!("node {}, network {network}", client.endpoint()));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| ask::io_failure("the runtime", &error))?;
        Ok(Self { globals, settings: list, out, network, suffix, client, runtime, warned: OnceCell::new() })
    }

    /// Runs a future to its end.
    pub fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    pub fn params(&self) -> &'static Params {
        self.network.params()
    }

    /// The node's status, of the network that we sign for.
    pub fn status(&self) -> Result<Status, Failure> {
        let status = self.wait(self.client.status())?;
        if status.network != self.network.as_str() {
            let (theirs, ours) = (&status.network, self.network);
            return Err(Failure::new(
                Exit::Usage,
                "other_network",
                format!("the node is on network {theirs}, not {ours}"),
            )
            .why("keys and addresses of one network mean nothing on another")
            .fix(format!("add --network {theirs}")));
        }
        if status.chain_id.parse::<Hash>() != Ok(self.params().chain_id()) {
            return Err(Failure::new(Exit::Failure, "other_chain", "the node follows a chain with another genesis")
                .why("it was built with other constants, so signatures made here would not be valid there")
                .fix("use a node and a namectl of the same release"));
        }
        Ok(status)
    }

    /// The status of a node that knows the newest blocks: work for a stale chain would be wasted.
    pub fn synced_status(&self) -> Result<Status, Failure> {
        let status = self.status()?;
        if !status.state.is_synced() {
            self.not_present(&status)?;
        }
        Ok(status)
    }

    /// Refuses what would be told or done from an old state, unless that is wanted.
    fn not_present(&self, status: &Status) -> Result<(), Failure> {
        let message = format!("the node is not synced: height {} of {}", status.height, status.target_height);
        let reason = status.sync_reason.clone().unwrap_or_else(|| "it is still catching up".into());
        let age = span(status.tip_age_seconds);
        if !self.globals.stale_ok {
            return Err(Failure::new(Exit::NotSynced, "not_synced", message)
                .why(format!("{reason}; what it knows is {age} old"))
                .fix("namectl status --watch")
                .fix("add --stale-ok to go by what it knew then"));
        }
        if self.warned.set(()).is_ok() {
            self.out.warn(&format!("{message}; {reason}; what is shown was true {age} ago"));
        }
        Ok(())
    }

    /// Makes sure that an answer is about the present, or that an old one is wanted.
    fn about_now(&self, state: SyncState) -> Result<(), Failure> {
        // The status knows why.
        if state.is_synced() { Ok(()) } else { self.not_present(&self.status()?) }
    }

    /// The block that wallets anchor at: `anchor_depth` below the tip, or as deep as a young chain goes.
    pub fn anchor(&self, status: &Status) -> Result<AnchorBlock, Failure> {
        let height = status.height.saturating_sub(status.params.anchor_depth);
        let block = status.recent.iter().filter(|block| block.height >= height).min_by_key(|block| block.height);
        let bad = || Failure::new(Exit::Failure, "bad_answer", "the node names no recent block to anchor at");
        let block = block.ok_or_else(bad)?;
        let hash: BlockHash = block.hash.parse().map_err(|_| bad())?;
        let prices = Prices { bytes: block.price_bytes, commit: block.price_commit };
        Ok(AnchorBlock { anchor: Anchor::to_block(block.height, &hash), hash, prices })
    }

    /// What a REVEAL is anchored at (protocol §4.1): its signature never grows old.
    pub fn genesis_anchor(&self) -> AnchorBlock {
        let genesis = self.params().genesis();
        let hash = genesis.hash();
        AnchorBlock { anchor: Anchor::to_block(0, &hash), hash, prices: Prices::from(&genesis.ext) }
    }

    /// Reads a name as typed.
    pub fn name(&self, input: &str) -> Result<Name, Failure> {
        label::read(input, &self.suffixes_for(input))
    }

    /// Reads a name and what stands before it, as typed.
    pub fn typed(&self, input: &str) -> Result<Typed, Failure> {
        label::read_with_sub(input, &self.suffixes_for(input))
    }

    /// Every suffix that names may have: those known here and, if it answers, those that the node serves.
    pub fn suffixes(&self) -> Suffixes {
        let mut suffixes = Suffixes::new(&self.suffix);
        if let Ok(status) = self.wait(self.client.status()) {
            suffixes.extend(status.suffixes);
        }
        suffixes
    }

    /// The node is only asked about what is not understood without.
    fn suffixes_for(&self, input: &str) -> Suffixes {
        let known = Suffixes::new(&self.suffix);
        if label::is_foreign(input, &known) { self.suffixes() } else { known }
    }

    /// `alice.p2p`.
    pub fn full(&self, name: &Name) -> String {
        let shown = label::show(name.as_str());
        match shown.strip_suffix(')').and_then(|head| head.split_once(" (")) {
            Some((unicode, ascii)) => format!("{unicode}.{suffix} ({ascii}.{suffix})", suffix = self.suffix),
            None => format!("{shown}.{}", self.suffix),
        }
    }

    pub fn origin(&self, name: &Name) -> Origin {
        Origin::new(name.clone(), &self.suffix)
    }

    /// What is true of a name now. A node that does not know is not believed, least of all that there is none.
    pub fn answer(&self, name: &Name) -> Result<NameAnswer, Failure> {
        let answer = self.wait(self.client.name(name.as_str()))?;
        self.about_now(answer.sync_state)?;
        Ok(answer)
    }

    /// The names that there are now, in the same way.
    pub fn names(&self, query: &NameQuery) -> Result<NameList, Failure> {
        let list = self.wait(self.client.names(query))?;
        self.about_now(list.sync_state)?;
        Ok(list)
    }

    /// Where the key file is.
    pub fn keys_path(&self) -> Result<PathBuf, Failure> {
        self.globals.keys.clone().ok_or_else(|| {
            Failure::new(Exit::Usage, "no_home", "there is no home directory to look for the keys in")
                .fix("add --keys FILE")
        })
    }

    /// Opens the key file, asking for the passphrase.
    pub fn open_keys(&self) -> Result<KeyFile, Failure> {
        let path = self.keys_path()?;
        if !KeyFile::exists(&path) {
            return Err(node::keys::FileError::Absent(path).into());
        }
        self.out.detail(&format!("keys {}", path.display()));
        let passphrase = ask::passphrase(&self.globals, "Passphrase: ")?;
        Ok(KeyFile::open(&path, &passphrase)?)
    }

    /// The entry whose owner key has this address: among those handed out, or within the gap beyond them.
    pub fn entry_of(&self, keys: &KeyFile, address: &str) -> Option<Entry> {
        let wallet = keys.wallet();
        let is_it = |role, index| wallet.address(self.network, role, index) == address;
        let known = wallet.entries(self.network).find(|entry| is_it(entry.role, entry.index));
        known.or_else(|| {
            let next = wallet.next_index(self.network, Role::Owner);
            let index = (next..next.saturating_add(GAP_LIMIT)).find(|index| is_it(Role::Owner, *index))?;
            Some(Entry { role: Role::Owner, index, name: None })
        })
    }

    /// Asks the node for the names of every key, until `gap` in a row have none; notes new ones in the wallet. Gives their number.
    pub fn find_names(&self, keys: &mut KeyFile, gap: u32) -> Result<usize, Failure> {
        let (network, wallet) = (self.network, keys.wallet());
        let known: BTreeSet<u32> = wallet.entries(network).filter(is_named_owner).map(|entry| entry.index).collect();
        let next = wallet.next_index(network, Role::Owner);
        let (mut index, mut without, mut found) = (0, 0, 0);
        let mut news = Vec::new();
        while without < gap || index < next {
            let owner = Some(wallet.address(network, Role::Owner, index));
            let list = self.names(&NameQuery { owner, limit: Some(1_000), ..NameQuery::default() })?;
            without = if list.names.is_empty() { without + 1 } else { 0 };
            if let Some(first) = list.names.first().filter(|_| !known.contains(&index)) {
                news.push((index, Name::new(&first.name).ok()));
            }
            found += list.names.len();
            index += 1;
        }
        keys.change(|wallet| {
            news.into_iter().try_for_each(|(index, name)| wallet.record(network, Role::Owner, index, name))
        })?;
        Ok(found)
    }

    /// `123 456 (in about 3 days)` for a height to come.
    pub fn height_text(&self, status_height: u32, height: u32) -> String {
        let seconds = u64::from(height.saturating_sub(status_height)) * u64::from(self.params().block_interval);
        let when = if height > status_height { format!(" (in about {})", span(seconds)) } else { String::new() };
        format!("{}{}", crate::output::group(u64::from(height)), self.out.paint(Style::Dim, &when))
    }
}

fn is_named_owner(entry: &Entry) -> bool {
    entry.role == Role::Owner && entry.name.is_some()
}

/// The client that flags, files and the data directory point to.
fn client(globals: &Globals, network: Network) -> Result<Client, Failure> {
    let data = user_folder("XDG_DATA_HOME", ".local/share").map(|folder| folder.join(network.as_str()));
    let folders = || data.iter().cloned().chain([PathBuf::from("/var/lib/namestead"), PathBuf::from("/run/namestead")]);
    let endpoint = match &globals.node {
        Some(text) => text.parse().map_err(|error: node::api::client::EndpointError| {
            Failure::new(Exit::Usage, "bad_node", error.to_string())
                .fix("--node unix:/path/api.sock or --node http://127.0.0.1:8353")
        })?,
        None => match folders().map(|folder| folder.join("api.sock")).find(|path| path.exists()) {
            Some(path) => Endpoint::Unix(path),
            None => Endpoint::Tcp("127.0.0.1:8353".into()),
        },
    };
    let token = match (&endpoint, &globals.token_file) {
        (_, Some(path)) => {
            let text = read_unlinked(path, MAX_TOKEN_BYTES);
            let text = text.map_err(|error| ask::io_failure(&path.display().to_string(), &error))?;
            Some(text.trim().to_owned())
        }
        (Endpoint::Unix(_), None) => None,
        (Endpoint::Tcp(_), None) => folders()
            .find_map(|folder| read_unlinked(&folder.join("api.token"), MAX_TOKEN_BYTES).ok())
            .map(|text| text.trim().to_owned()),
    };
    Ok(Client::new(endpoint, token, CALL_TIMEOUT))
}
