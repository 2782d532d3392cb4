//! A peer that does as it is told: it connects to one node, says what it likes when it is asked, and gossips what it is
//! given, unjudged.
//!
//! Not for: anything of a real node's caution. Each peer has a new identity and one connection, runs as a task of its
//! own, and is gone when its handle is dropped.

use std::{collections::VecDeque, time::Duration};

use anyhow::{Context as _, Result, anyhow, bail};
use futures::StreamExt as _;
use ledger::{codec::encode, params::Params, transaction::Transaction};
use libp2p::{
    Multiaddr, Swarm, gossipsub, identify,
    identity::Keypair,
    ping,
    request_response::{self, Message, OutboundRequestId, ProtocolSupport, ResponseChannel},
    swarm::{NetworkBehaviour, SwarmEvent, dial_opts::DialOpts},
};
use node::p2p::{
    compact::CompactBlock,
    gossip::{self, Topics},
    message::{Request, Response},
    transport::Codec,
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{sleep, timeout},
};

/// A dial that takes longer is given up.
const CONNECT: Duration = Duration::from_secs(8);
/// The longest wait for one answer.
const ANSWER: Duration = Duration::from_secs(20);
/// The longest wait for a node to say that it listens to gossip.
const SUBSCRIBE: Duration = Duration::from_secs(10);
/// A connection that nothing uses stays: who hangs up is the node.
const IDLE: Duration = Duration::from_secs(600);
/// Pause before a message is offered again to a connection that is full.
const FULL_PAUSE: Duration = Duration::from_millis(5);
/// Commands on their way to the task: each waits for its reply, so there are as many as callers.
const COMMANDS: usize = 64;
/// Questions left unanswered on purpose: letting go of them would be an answer.
const UNANSWERED: usize = 256;

/// What a peer says to a question; nothing at all if `None`.
pub type Answers = Box<dyn FnMut(&Request) -> Option<Response> + Send>;

/// How things stand with the node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Link {
    connected: bool,
    /// The node has hung up, or the dial failed.
    over: bool,
    /// The node takes gossip of both kinds.
    listens: bool,
}

/// A running peer.
pub struct Peer {
    commands: mpsc::Sender<Command>,
    link: watch::Receiver<Link>,
}

enum Command {
    Ask(Box<Request>, oneshot::Sender<Result<Response, String>>),
    Tell(Topic, Vec<u8>, oneshot::Sender<Told>),
}

#[derive(Clone, Copy)]
enum Topic {
    Block,
    Transaction,
}

/// What became of a message.
enum Told {
    Sent,
    /// This peer said it before, or heard it.
    Known,
    /// The connection has no room for it now.
    Full,
    /// Nobody listens.
    Refused(String),
}

impl Peer {
    /// Connects to a node. `answers` is asked whatever the node asks.
    pub async fn connect(params: &Params, address: &Multiaddr, answers: Answers) -> Result<Self> {
        let mut swarm = swarm(params)?;
        let options: DialOpts = address.clone().into();
        swarm.dial(options).with_context(|| format!("cannot dial {address}"))?;
        let mut peer = Self::start(params, swarm, answers);
        peer.until_connected().await.with_context(|| format!("cannot connect to {address}"))?;
        Ok(peer)
    }

    /// Listens for a node that dials by itself.
    pub fn listen(params: &Params, address: &Multiaddr, answers: Answers) -> Result<Self> {
        let mut swarm = swarm(params)?;
        swarm.listen_on(address.clone()).with_context(|| format!("cannot listen on {address}"))?;
        Ok(Self::start(params, swarm, answers))
    }

    fn start(params: &Params, swarm: Swarm<Behaviour>, answers: Answers) -> Self {
        let (commands, inbox) = mpsc::channel(COMMANDS);
        let (told, link) = watch::channel(Link::default());
        let topics = Topics::of(&params.chain_id());
        let task = Task { swarm, topics, answers, link: told, asked: Vec::new(), unanswered: VecDeque::new() };
        tokio::spawn(task.run(inbox));
        Self { commands, link }
    }

    /// Whether the node still talks to this peer.
    pub fn is_connected(&self) -> bool {
        let link = *self.link.borrow();
        link.connected && !link.over
    }

    async fn until_connected(&mut self) -> Result<()> {
        match timeout(CONNECT, self.link.wait_for(|link| link.connected || link.over)).await {
            Ok(Ok(link)) if link.connected => Ok(()),
            Ok(_) => bail!("refused"),
            Err(_) => bail!("no answer"),
        }
    }

    /// Returns once the node takes gossip: what is said before is heard by no one.
    pub async fn until_heard(&mut self) -> Result<()> {
        let heard = timeout(SUBSCRIBE, self.link.wait_for(|link| link.listens || link.over)).await;
        match heard {
            Ok(Ok(link)) if link.listens => Ok(()),
            Ok(_) => bail!("the node hung up"),
            Err(_) => bail!("the node takes no gossip"),
        }
    }

    /// Asks the node.
    pub async fn ask(&self, request: Request) -> Result<Response> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Ask(Box::new(request), reply)).await?;
        let answer = timeout(ANSWER, answer).await.context("no answer in time")?;
        answer.context("the peer has ended")?.map_err(|why| anyhow!("no answer: {why}"))
    }

    /// Announces a block. Returns whether that is news between this peer and the node.
    pub async fn announce(&self, announcement: &CompactBlock) -> Result<bool> {
        self.tell(Topic::Block, encode(announcement)).await
    }

    /// Gossips a transaction. Returns whether that is news between this peer and the node.
    pub async fn transaction(&self, transaction: &Transaction) -> Result<bool> {
        self.tell(Topic::Transaction, encode(transaction)).await
    }

    async fn tell(&self, topic: Topic, bytes: Vec<u8>) -> Result<bool> {
        loop {
            let (reply, told) = oneshot::channel();
            self.send(Command::Tell(topic, bytes.clone(), reply)).await?;
            match told.await.context("the peer has ended")? {
                Told::Sent => return Ok(true),
                Told::Known => return Ok(false),
                Told::Full => sleep(FULL_PAUSE).await,
                Told::Refused(why) => bail!("not said: {why}"),
            }
        }
    }

    async fn send(&self, command: Command) -> Result<()> {
        self.commands.send(command).await.map_err(|_| anyhow!("the peer has ended"))
    }
}

/// What a peer speaks: enough for a node to take it for one of its kind.
#[derive(NetworkBehaviour)]
struct Behaviour {
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    gossip: gossipsub::Behaviour,
    requests: request_response::Behaviour<Codec>,
}

fn swarm(params: &Params) -> Result<Swarm<Behaviour>> {
    let keypair = Keypair::generate_ed25519();
    let version = format!("/namestead/{}/1", gossip::chain_prefix(&params.chain_id()));
    let behaviour = Behaviour {
        identify: identify::Behaviour::new(identify::Config::new(version, keypair.public())),
        ping: ping::Behaviour::default(),
        gossip: gossip::behaviour(&Topics::of(&params.chain_id())),
        requests: node::p2p::requests(params, ProtocolSupport::Full),
    };
    node::p2p::build(keypair, behaviour, IDLE).map_err(|why| anyhow!("cannot set up the network: {why}"))
}

struct Task {
    swarm: Swarm<Behaviour>,
    topics: Topics,
    answers: Answers,
    link: watch::Sender<Link>,
    asked: Vec<(OutboundRequestId, oneshot::Sender<Result<Response, String>>)>,
    unanswered: VecDeque<ResponseChannel<Response>>,
}

impl Task {
    async fn run(mut self, mut inbox: mpsc::Receiver<Command>) {
        loop {
            tokio::select! {
                event = self.swarm.select_next_some() => self.event(event),
                command = inbox.recv() => match command {
                    Some(command) => self.command(command),
                    None => return,
                },
            }
        }
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Ask(request, reply) => self.ask(*request, reply),
            Command::Tell(topic, bytes, reply) => drop(reply.send(self.publish(topic, bytes))),
        }
    }

    fn ask(&mut self, request: Request, reply: oneshot::Sender<Result<Response, String>>) {
        let node = self.swarm.connected_peers().next().copied();
        let Some(node) = node else { return drop(reply.send(Err("not connected".to_owned()))) };
        let id = self.swarm.behaviour_mut().requests.send_request(&node, request);
        self.asked.push((id, reply));
    }

    fn publish(&mut self, topic: Topic, bytes: Vec<u8>) -> Told {
        let topic = match topic {
            Topic::Block => self.topics.block.hash(),
            Topic::Transaction => self.topics.tx.hash(),
        };
        match self.swarm.behaviour_mut().gossip.publish(topic, bytes) {
            Ok(_) => Told::Sent,
            Err(gossipsub::PublishError::Duplicate) => Told::Known,
            Err(gossipsub::PublishError::AllQueuesFull(_)) => Told::Full,
            Err(error) => Told::Refused(error.to_string()),
        }
    }

    fn event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::ConnectionEstablished { .. } => {
                self.link.send_modify(|link| (link.connected, link.over) = (true, false));
            }
            SwarmEvent::ConnectionClosed { num_established: 0, .. } | SwarmEvent::OutgoingConnectionError { .. } => {
                self.link.send_modify(|link| link.over = true);
            }
            SwarmEvent::Behaviour(BehaviourEvent::Gossip(gossipsub::Event::Subscribed { .. })) => {
                let listens = self.listeners();
                self.link.send_modify(|link| link.listens = listens);
            }
            SwarmEvent::Behaviour(BehaviourEvent::Requests(event)) => self.request_event(event),
            // What the node says of itself and what it gossips is of no interest here.
            _ => {}
        }
    }

    /// Whether some node takes both topics.
    fn listeners(&self) -> bool {
        let [tx, block] = [self.topics.tx.hash(), self.topics.block.hash()];
        let mut peers = self.swarm.behaviour().gossip.all_peers();
        peers.any(|(_, topics)| topics.contains(&&tx) && topics.contains(&&block))
    }

    fn request_event(&mut self, event: request_response::Event<Request, Response>) {
        match event {
            request_response::Event::Message { message: Message::Request { request, channel, .. }, .. } => {
                match (self.answers)(&request) {
                    // The node may have hung up meanwhile.
                    Some(answer) => drop(self.swarm.behaviour_mut().requests.send_response(channel, answer)),
                    None => {
                        if self.unanswered.len() == UNANSWERED {
                            self.unanswered.pop_front();
                        }
                        self.unanswered.push_back(channel);
                    }
                }
            }
            request_response::Event::Message { message: Message::Response { request_id, response }, .. } => {
                self.settle(request_id, Ok(response));
            }
            request_response::Event::OutboundFailure { request_id, error, .. } => {
                self.settle(request_id, Err(error.to_string()));
            }
            request_response::Event::InboundFailure { .. } | request_response::Event::ResponseSent { .. } => {}
        }
    }

    fn settle(&mut self, id: OutboundRequestId, answer: Result<Response, String>) {
        if let Some(index) = self.asked.iter().position(|(asked, _)| *asked == id) {
            let (_, reply) = self.asked.swap_remove(index);
            // Whoever asked may have given up waiting.
            let _ = reply.send(answer);
        }
    }
}
