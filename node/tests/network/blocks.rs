//! How new blocks travel: compact, put together from the mempool, completed by whoever announced them, or fetched whole.

use std::sync::{Arc, Mutex};

use ledger::{
    block::Block,
    codec::encode,
    hash::WitnessTxId,
    params::Params,
    testing::{TestChain, name, records, tiny_params},
    transaction::Transaction,
};
use node::{
    mempool::TxOrigin,
    p2p::{
        compact::CompactBlock,
        message::{Refusal, Request, Response, Status},
    },
};

use crate::{
    peer::{Peer, Wire, eventually, unix_now},
    puppet::{Answers, Peer as Puppet},
};

/// A chain whose next block takes some commits, and that block.
fn chain_and_block(commits: u64) -> (TestChain, Block) {
    let mut chain = TestChain::new(tiny_params());
    chain.mine_empty(3);
    let commit = |owner: u64| chain.maker().commit(&name(&format!("travels-{owner}")), owner);
    let block = chain.build((1..=commits).map(commit).collect()).expect("valid");
    (chain, block)
}

/// A block of more than 65 kB crosses three nodes that have its transactions, and nobody asks for any of them.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_block_crosses_three_nodes_without_its_transactions() {
    const NAMES: u64 = 70;
    let mut chain = TestChain::new(tiny_params());
    chain.mine_empty(1);
    let label = |owner: u64| name(&format!("large-{owner}"));
    let commits = (1..=NAMES).map(|owner| chain.maker().commit(&label(owner), owner)).collect();
    chain.mine(commits).expect("new commits");
    chain.mine_empty(chain.params().maturity - 1);
    let first = Peer::start_on(chain.params(), Wire::Tcp, &[]).await;
    let second = Peer::start_on(chain.params(), Wire::Quic, &[&first]).await;
    let third = Peer::start_on(chain.params(), Wire::Tcp, &[&second]).await;
    for peer in [&first, &second, &third] {
        peer.load(&chain).await;
    }
    let text = "x".repeat(240);
    let reveals: Vec<_> = (1..=NAMES).map(|owner| chain.maker().reveal(&label(owner), owner, four(&text))).collect();
    let bytes: usize = reveals.iter().map(Transaction::byte_len).sum();
    assert!(bytes > 65_000, "{bytes} bytes were pushed whole once");
    for reveal in &reveals {
        first.submit(reveal.clone()).await;
    }
    for peer in [&second, &third] {
        eventually("all transactions are everywhere", || peer.chain.mempool().count() == NAMES as usize).await;
    }
    first.mine(1).await;
    assert_eq!(first.chain.mempool().count(), 0, "the block has them all");
    eventually("the block is everywhere", || second.tip() == first.tip() && third.tip() == first.tip()).await;
    for peer in [&second, &third] {
        let stats = peer.p2p.stats();
        assert_eq!((stats.blocks_rebuilt_total, stats.blocks_completed_total, stats.blocks_fetched_total), (1, 0, 0));
        assert_eq!(stats.block_bytes_parts_total + stats.block_bytes_whole_total, 0, "{stats:?}");
        // What came in the last two seconds is sent along up to a limit, since it may not be everywhere.
        assert!(stats.block_bytes_compact_total < 20_000, "{stats:?}");
    }
    for peer in [first, second, third] {
        peer.stop().await;
    }
}

/// Records of four texts: about a kilobyte.
fn four(text: &str) -> ledger::record::Records {
    let record = |digit: u32| ledger::testing::txt(&format!("{digit}{text}"));
    let all = ledger::testing::records_of((0..4).map(record).collect());
    assert!(encode(&all).len() > encode(&records(text)).len());
    all
}

/// A node that has a chain and some of the next block's transactions, and whoever announces that block.
struct Scene {
    node: Peer,
    puppet: Puppet,
    asked: Arc<Mutex<Vec<String>>>,
}

/// What the puppet gives for parts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Gives {
    Right,
    /// As many transactions as were asked for, of the block, and not those.
    Others,
    TooFew,
    Nothing,
    /// No answer at all.
    Silence,
}

impl Scene {
    async fn new(chain: &TestChain, block: &Block, pooled: usize, gives: Gives) -> Self {
        let node = Peer::start_on(chain.params(), Wire::Tcp, &[]).await;
        node.load(chain).await;
        for tx in &block.transactions[..pooled] {
            node.chain.submit_transaction(tx.clone(), TxOrigin::Local).await.expect("valid");
        }
        let asked = Arc::default();
        let answers = answers(chain, block.clone(), gives, Arc::clone(&asked));
        let mut puppet = Puppet::connect(chain.params(), &node.address().await, answers).await.expect("connects");
        puppet.until_heard().await.expect("the node listens");
        Self { node, puppet, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no test panicked with it").clone()
    }
}

fn status(params: &Params, chain: &TestChain) -> Status {
    let (tip, chain_id) = (chain.tip(), params.chain_id());
    let (height, hash, work) = (tip.height(), tip.hash(), tip.total_work());
    Status { chain_id, height, hash, work, time: unix_now(), lowest_body: 0 }
}

fn answers(chain: &TestChain, block: Block, gives: Gives, asked: Arc<Mutex<Vec<String>>>) -> Answers {
    let status = status(chain.params(), chain);
    Box::new(move |request| {
        if !matches!(request, Request::Status(_) | Request::Transactions(_) | Request::Addresses) {
            asked.lock().expect("no test panicked with it").push(request.kind().to_owned());
        }
        Some(match request {
            Request::Status(_) => Response::Status(status),
            Request::Bodies(_) => Response::Bodies(vec![Some(encode(&block))]),
            Request::Parts { .. } if gives == Gives::Silence => return None,
            Request::Parts { indexes, .. } => {
                let part = |index: &u16| encode(&block.transactions[usize::from(*index)]);
                let right: Vec<_> = indexes.iter().map(part).collect();
                Response::Parts(match gives {
                    Gives::Right => Some(right),
                    Gives::Others => Some(vec![part(&0); indexes.len()]),
                    Gives::TooFew => Some(right[1..].to_vec()),
                    Gives::Nothing | Gives::Silence => None,
                })
            }
            _ => Response::Refused(Refusal::Unsupported),
        })
    })
}

const NONE: fn(&WitnessTxId) -> bool = |_| false;

/// What is missing is asked for once, and of whoever announced the block.
#[tokio::test(flavor = "multi_thread")]
async fn missing_transactions_are_asked_for() {
    let (chain, block) = chain_and_block(6);
    let scene = Scene::new(&chain, &block, 4, Gives::Right).await;
    scene.puppet.announce(&CompactBlock::new(&block, 1, NONE)).await.expect("said");
    eventually("the block is here", || scene.node.tip() == block.hash()).await;
    assert_eq!(scene.asked(), ["parts"]);
    let stats = scene.node.p2p.stats();
    assert_eq!((stats.blocks_completed_total, stats.blocks_fetched_total, stats.bans_total), (1, 0, 0));
    assert_eq!(stats.block_bytes_whole_total, 0);
    scene.node.stop().await;
}

/// With less than half of the block here, the whole of it is asked for.
#[tokio::test(flavor = "multi_thread")]
async fn a_block_of_unknown_transactions_is_fetched_whole() {
    let (chain, block) = chain_and_block(6);
    let scene = Scene::new(&chain, &block, 2, Gives::Right).await;
    scene.puppet.announce(&CompactBlock::new(&block, 1, NONE)).await.expect("said");
    eventually("the block is here", || scene.node.tip() == block.hash()).await;
    assert_eq!(scene.asked(), ["bodies"]);
    scene.node.stop().await;
}

/// A block completed with wrong transactions, or not at all, is fetched, and nobody is banned for it: who announces a block
/// cannot know what the ids of whoever made them stand for. Who answers with another number of transactions can.
#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_comes_out_wrong_is_fetched_and_nobody_is_blamed() {
    let (chain, block) = chain_and_block(6);
    for gives in [Gives::Others, Gives::Nothing] {
        let scene = Scene::new(&chain, &block, 4, gives).await;
        scene.puppet.announce(&CompactBlock::new(&block, 1, NONE)).await.expect("said");
        eventually("the block is here", || scene.node.tip() == block.hash()).await;
        assert_eq!(scene.asked(), ["parts", "bodies"], "{gives:?}");
        assert!(scene.puppet.is_connected());
        assert_eq!(scene.node.p2p.stats().offences_total, 0);
        scene.node.stop().await;
    }
    let scene = Scene::new(&chain, &block, 4, Gives::TooFew).await;
    scene.puppet.announce(&CompactBlock::new(&block, 1, NONE)).await.expect("said");
    eventually("it is banned", || scene.node.p2p.stats().bans_total == 1).await;
    assert_eq!(scene.node.tip(), chain.tip().hash());
    scene.node.stop().await;
}

/// Ids of nothing under a good header do not keep the block away, and neither does a body that says it is whole and is
/// not: that one shows before it is passed on, so its sender is to blame.
#[tokio::test(flavor = "multi_thread")]
async fn false_announcements_keep_no_block_away() {
    let (chain, block) = chain_and_block(4);
    let scene = Scene::new(&chain, &block, 4, Gives::Right).await;
    scene.puppet.announce(&CompactBlock::without_body(block.header, 4)).await.expect("said");
    eventually("the block is here", || scene.node.tip() == block.hash()).await;
    assert_eq!(scene.asked(), ["bodies"]);
    assert_eq!(scene.node.p2p.stats().offences_total, 0);
    scene.node.stop().await;

    let scene = Scene::new(&chain, &block, 4, Gives::Right).await;
    let cut = Block { transactions: block.transactions[1..].to_vec(), ..block.clone() };
    scene.puppet.announce(&CompactBlock::whole(&cut)).await.expect("said");
    eventually("it is banned", || scene.node.p2p.stats().bans_total == 1).await;
    assert_eq!(scene.node.chain.tip().best_header, chain.height(), "the header was not even looked at");
    scene.node.stop().await;
}

/// However many spellings of one announcement come, one is passed on, and the block is put together once.
#[tokio::test(flavor = "multi_thread")]
async fn one_header_is_announced_once() {
    let (chain, block) = chain_and_block(4);
    let scene = Scene::new(&chain, &block, 4, Gives::Right).await;
    let far = Peer::start_on(chain.params(), Wire::Tcp, &[&scene.node]).await;
    far.load(&chain).await;
    for salt in 0..20 {
        scene.puppet.announce(&CompactBlock::new(&block, salt, NONE)).await.expect("said");
    }
    eventually("all are judged", || scene.node.p2p.stats().gossip_received_total >= 20).await;
    eventually("the block is everywhere", || scene.node.tip() == block.hash() && far.tip() == block.hash()).await;
    eventually("every message has its verdict", || scene.node.p2p.stats().gossip_ignored_total >= 19).await;
    let stats = scene.node.p2p.stats();
    assert_eq!((stats.gossip_accepted_total, stats.blocks_rebuilt_total, stats.offences_total), (1, 1, 0), "{stats:?}");
    scene.node.stop().await;
    far.stop().await;
}

/// Whoever asks for a block that is on its way is answered when it is here, instead of "not here" at once: so it crosses the
/// network hop by hop.
#[tokio::test(flavor = "multi_thread")]
async fn a_question_for_a_block_that_is_on_its_way_waits_for_it() {
    let (chain, block) = chain_and_block(6);
    let scene = Scene::new(&chain, &block, 4, Gives::Silence).await;
    let nobody = answers(&chain, block.clone(), Gives::Silence, Arc::default());
    let asker = Puppet::connect(chain.params(), &scene.node.address().await, nobody).await.expect("connects");
    scene.puppet.announce(&CompactBlock::new(&block, 1, NONE)).await.expect("said");
    eventually("the node asks for what is missing", || scene.asked() == ["parts"]).await;
    let question = asker.ask(Request::Bodies(vec![block.hash()]));
    let later = async {
        // The node has the question when it has answered the next one.
        asker.ask(Request::Status(status(chain.params(), &chain))).await.expect("an answer");
        let arrival = node::chain::Arrival::Live;
        scene.node.chain.submit_block(block.clone().into(), arrival).await.expect("judged");
    };
    let (answer, ()) = tokio::join!(question, later);
    assert_eq!(answer.expect("an answer"), Response::Bodies(vec![Some(encode(&block))]));
    scene.node.stop().await;
}
