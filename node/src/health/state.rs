//! The words: states, and what is known at one moment.

use std::time::{SystemTime, UNIX_EPOCH};

/// How far what is known is the present.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum State {
    /// The chain is not all here yet.
    #[default]
    Syncing,
    /// A young tip that peers share.
    Fresh,
    /// An old tip, but peers know no younger one.
    Quiet,
    /// An old tip, and no peer that says whether there is a younger one.
    Offline,
    /// A heavier chain that is not followed.
    Suspect,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Syncing, Self::Fresh, Self::Quiet, Self::Offline, Self::Suspect];

    /// Whether the tip can be believed to be that of the network.
    pub fn is_synced(self) -> bool {
        match self {
            Self::Fresh | Self::Quiet => true,
            Self::Syncing | Self::Offline | Self::Suspect => false,
        }
    }

    /// As in metrics and log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Syncing => "syncing",
            Self::Fresh => "fresh",
            Self::Quiet => "quiet",
            Self::Offline => "offline",
            Self::Suspect => "suspect",
        }
    }
}

/// What is known at one moment, and what it is worth.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Health {
    /// How far it is the present.
    pub state: State,
    /// Height of the tip.
    pub height: u32,
    /// Height that the node works towards.
    pub target_height: u32,
    /// Time in the tip's header, unix seconds.
    pub tip_time: u64,
    /// Peers that told their status.
    pub peers: usize,
    /// Netgroups of peers that answer and know no more.
    pub witnesses: usize,
    /// The lowest block that is needed and that no connected peer keeps.
    pub missing_body: Option<u32>,
    /// What has to be added to this machine's clock, in seconds.
    pub clock_offset_s: i64,
}

impl Health {
    /// Whether the tip can be believed to be that of the network.
    pub fn is_synced(&self) -> bool {
        self.state.is_synced()
    }

    /// Seconds since the tip's time.
    pub fn tip_age_s(&self, unix_now: u64) -> u64 {
        self.age_s(self.tip_time, unix_now)
    }

    /// Seconds since `time`, which stands in a header.
    pub fn age_s(&self, time: u64, unix_now: u64) -> u64 {
        unix_now.saturating_add_signed(self.clock_offset_s).saturating_sub(time)
    }

    /// Why the node is not synced, in a sentence; `None` if it is.
    pub fn unsynced_because(&self, unix_now: u64) -> Option<String> {
        let Self { height, target_height, peers, .. } = *self;
        match self.state {
            State::Fresh | State::Quiet => None,
            State::Syncing | State::Offline if self.missing_body.is_some() => {
                let missing = self.missing_body.unwrap_or_default();
                Some(format!("at height {height}, and no connected peer keeps block {missing}: one is looked for"))
            }
            State::Syncing if peers == 0 => Some("no peer has told its height yet".to_owned()),
            State::Syncing => Some(format!("at height {height} of {}", target_height.max(height))),
            State::Suspect => {
                Some("a heavier chain forks off too deep to be followed by itself: the log names it".to_owned())
            }
            State::Offline => {
                let age = span(self.tip_age_s(unix_now));
                let who = match self.witnesses {
                    0 => "no peer answers that knows of no newer one",
                    _ => "too few peers answer to say that there is no newer one",
                };
                Some(format!("the newest block is {age} old, and {who}"))
            }
        }
    }
}

/// Seconds as people say them.
fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} seconds"),
        120..10_800 => format!("{} minutes", seconds / 60),
        10_800..259_200 => format!("{} hours", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// The wall clock, in milliseconds. One that stands before 1970 is as wrong as any.
pub fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The wall clock, in seconds.
pub fn unix_s() -> u64 {
    unix_ms() / 1_000
}
