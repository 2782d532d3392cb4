//! Difficulty, compact targets and prices, as tables.

use ledger::{
    block::{HeaderCore, HeaderExt},
    difficulty::{expected_bits, vtime_after},
    params::Network,
    pow::{from_compact, to_compact, work_of_target},
    price::prices_after,
};
use primitive_types::U256;

use crate::Vectors;

/// Bits by parent height, parent vtime and gap: `height vtime gap = bits vtime`.
pub fn difficulty() -> Vectors {
    let mut v = Vectors::default();
    for network in [Network::Main, Network::Test, Network::Local] {
        let p = network.params();
        v.title(network.as_str());
        let genesis = p.genesis().core;
        let t = i64::from(p.block_interval);
        let mut off: Vec<i64> = (0..64).map(|n| n * i64::from(p.tau) / 64).collect();
        off.extend([-1, 1, -17, -3_600, -7_200, -72_000, 72_000, -1_000_000, 1_000_000]);
        for height in [1u32, 2, 100_000] {
            for off in &off {
                let vtime = t * i64::from(height - 1) + off;
                let Ok(vtime) = u32::try_from(vtime) else { continue };
                row(&mut v, network, HeaderCore { height, vtime, ..genesis }, u64::from(p.block_interval));
            }
        }
        let on_time = HeaderCore { height: 1_001, vtime: 1_000 * p.block_interval, ..genesis };
        for steps in [0u64, 1, 2, 3, 10, 63, 64, 65, 1_000] {
            let gap = u64::from(p.relief_start) + steps * u64::from(p.relief_step);
            row(&mut v, network, on_time, gap);
            row(&mut v, network, on_time, gap + 1);
        }
        row(&mut v, network, genesis, 1);
        row(&mut v, network, genesis, 1_000_000);
        row(&mut v, network, HeaderCore { height: u32::MAX, vtime: 0, ..genesis }, 120);
        row(&mut v, network, HeaderCore { height: 2, vtime: u32::MAX, ..genesis }, 120);
    }
    v
}

fn row(v: &mut Vectors, network: Network, parent: HeaderCore, gap: u64) {
    let (p, time) = (network.params(), parent.time + gap);
    let bits = expected_bits(p, &parent, time);
    let key = format!("{} {} {gap}", parent.height, parent.vtime);
    v.text(&key, format!("{bits:08x} {}", vtime_after(p, &parent, time)));
}

/// `target = bits, the target they stand for, its work`.
pub fn compact() -> Vectors {
    let mut v = Vectors::default();
    v.title("compact");
    let one = U256::one();
    let mut targets: Vec<U256> = (0..256u32).step_by(5).map(|shift| one << shift).collect();
    targets.extend([one * 0x7f_ffff, one * 0x80_0000, one * 0xff_ffff, one * 0x1234_5678, U256::MAX, U256::MAX >> 1]);
    targets.extend([168u32, 238, 240, 242, 244, 246, 255].map(|shift| one << shift));
    targets.extend((0..32u32).map(|n| (U256::MAX >> (n * 8)) / (one * 3)));
    for target in targets.into_iter().filter(|target| !target.is_zero()) {
        let bits = to_compact(target);
        let effective = from_compact(bits).unwrap();
        v.text(&format!("{target:064x}"), format!("{bits:08x} {effective:064x} {}", work_of_target(effective)));
    }
    v.title("not canonical");
    for bits in [
        0u32,
        1,
        0x0100_0000,
        0x0100_ffff,
        0x0380_0000,
        0x0400_0001,
        0x1f80_0000,
        0x1f00_8000,
        0x1f00_7fff,
        0x2180_0000,
        0x2101_0000,
        0x2200_0001,
        0x2300_0001,
        0xff00_0001,
        0xffff_ffff,
    ] {
        let text = from_compact(bits).map_or("none".to_owned(), |target| format!("{target:064x}"));
        v.text(&format!("{bits:08x}"), text);
    }
    v
}

/// `height price_bytes price_commit weight commits names = price_bytes price_commit`: of a block and of the next one.
pub fn prices() -> Vectors {
    let mut v = Vectors::default();
    prices_of(&mut v, Network::Main, &[0, 1_619, 3_238, 3_239, 12_958, 12_959, u32::MAX]);
    prices_of(&mut v, Network::Local, &[0, 3_239]);
    v
}

fn prices_of(v: &mut Vectors, network: Network, heights: &[u32]) {
    let params = network.params();
    v.title(network.as_str());
    for (height, price) in heights.iter().flat_map(|height| PRICES.map(|price| (*height, price))) {
        for_each_demand(|weight, commits, names| {
            let (price_bytes, price_commit) = (price.min(4_096), price);
            let mut header = params.genesis();
            header.core.height = height;
            header.ext = HeaderExt {
                price_bytes,
                price_commit,
                weight,
                commit_count: commits,
                name_count: names,
                ..HeaderExt::default()
            };
            let next = prices_after(params, &header);
            v.text(
                &format!("{height} {price_bytes} {price_commit} {weight} {commits} {names}"),
                format!("{} {}", next.bytes, next.commit),
            );
        });
    }
}

const PRICES: [u32; 8] = [256, 257, 300, 1_000, 4_095, 4_096, 10_000, 16_384];

fn for_each_demand(mut with: impl FnMut(u32, u32, u64)) {
    for (weight, commits, names) in [
        (0, 0, 0u64),
        (32_767, 3, 0),
        (32_768, 4, 0),
        (32_769, 5, 0),
        (40_000, 7, 1 << 20),
        (65_536, 8, 1 << 21),
        (262_000, 1_800, 1 << 23),
        (1, 1, 100_000_000),
        (u32::MAX, u32::MAX, u64::MAX),
    ] {
        with(weight, commits, names);
    }
}
