//! How hard to search: a pure function of the configuration and the circumstances.

use super::config::{MiningConfig, MiningMode};

/// Circumstances that decide whether mining for its own sake makes sense.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Conditions {
    /// Whether the node believes that it is at the network's tip.
    pub synced: bool,
    /// Connected peers.
    pub peers: usize,
    /// Whether the clock is known to differ from the peers' clocks (protocol §3.4).
    pub clock_is_off: bool,
}

/// Which workers search, and how much.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Plan {
    /// None.
    Rest,
    /// The one thread of idle priority.
    Background {
        /// Percent of the time.
        duty: u8,
    },
    /// All threads.
    Full {
        /// Percent of the time.
        duty: u8,
    },
}

/// What to do now.
pub(super) fn plan(config: &MiningConfig, conditions: Conditions, orders: usize) -> Plan {
    if orders > 0 {
        return Plan::Full { duty: 100 };
    }
    if !conditions.synced || conditions.clock_is_off {
        return Plan::Rest;
    }
    match config.mode {
        MiningMode::Off => Plan::Rest,
        MiningMode::On => Plan::Full { duty: config.duty.unwrap_or(100) },
        MiningMode::Auto if conditions.peers == 0 && !config.solo => Plan::Rest,
        MiningMode::Auto => Plan::Background { duty: config.duty.unwrap_or(25) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans() {
        let good = Conditions { synced: true, peers: 3, clock_is_off: false };
        let alone = Conditions { peers: 0, ..good };
        let behind = Conditions { synced: false, ..good };
        let skewed = Conditions { clock_is_off: true, ..good };
        let with = |mode| MiningConfig { mode, ..MiningConfig::default() };
        let solo = MiningConfig { solo: true, duty: Some(7), ..MiningConfig::default() };
        for (config, conditions, orders, expected) in [
            (with(MiningMode::Auto), good, 0, Plan::Background { duty: 25 }),
            (with(MiningMode::Auto), alone, 0, Plan::Rest),
            (with(MiningMode::Auto), behind, 0, Plan::Rest),
            (with(MiningMode::Auto), skewed, 0, Plan::Rest),
            (solo, alone, 0, Plan::Background { duty: 7 }),
            (with(MiningMode::On), alone, 0, Plan::Full { duty: 100 }),
            (with(MiningMode::On), behind, 0, Plan::Rest),
            (with(MiningMode::Off), good, 0, Plan::Rest),
            (with(MiningMode::Off), behind, 1, Plan::Full { duty: 100 }),
        ] {
            assert_eq!(plan(&config, conditions, orders), expected, "{config:?} {conditions:?} {orders}");
        }
    }
}
