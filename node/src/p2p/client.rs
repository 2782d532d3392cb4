//! A connection of a client: it asks, answers nothing, and uses a new identity every time.
//!
//! For: [`crate::light`] and anything else that wants an answer and no network. The swarm runs only while a method is
//! awaited; there is no task.

use std::time::Duration;

use futures::StreamExt;
use ledger::params::Params;
use libp2p::{
    Multiaddr, PeerId, Swarm,
    identity::Keypair,
    request_response::{self, Message, OutboundRequestId, ProtocolSupport},
    swarm::{SwarmEvent, dial_opts::DialOpts},
};
use tokio::time::timeout;

use super::{
    behaviour,
    message::{Request, Response},
    transport::Codec,
};

/// A connection that does not come up in this time is given up: other peers are waiting to be asked.
const CONNECT: Duration = Duration::from_secs(8);
/// The longest wait for one answer.
const ANSWER: Duration = Duration::from_secs(35);

/// Why a peer could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The transports could not be set up.
    #[error("cannot set up the network: {0}")]
    Transport(String),
    /// No connection.
    #[error("cannot connect to {address}: {why}")]
    Connect {
        /// The peer's address.
        address: Multiaddr,
        /// What went wrong.
        why: String,
    },
    /// No answer.
    #[error("no answer: {0}")]
    Answer(String),
}

/// A client.
pub struct Client {
    swarm: Swarm<request_response::Behaviour<Codec>>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Client({})", self.swarm.local_peer_id())
    }
}

impl Client {
    /// A client with a new identity.
    pub fn new(params: &Params) -> Result<Self, ClientError> {
        let requests = behaviour::requests(params, ProtocolSupport::Outbound);
        let swarm = behaviour::build(Keypair::generate_ed25519(), requests, ANSWER).map_err(ClientError::Transport)?;
        Ok(Self { swarm })
    }

    /// Connects to a peer, whose id the address may leave open.
    pub async fn connect(&mut self, address: &Multiaddr) -> Result<PeerId, ClientError> {
        let failed = |why: String| ClientError::Connect { address: address.clone(), why };
        let options: DialOpts = address.clone().into();
        let id = options.connection_id();
        self.swarm.dial(options).map_err(|error| failed(error.to_string()))?;
        let connected = async {
            loop {
                match self.swarm.select_next_some().await {
                    SwarmEvent::ConnectionEstablished { connection_id, peer_id, .. } if connection_id == id => {
                        return Ok(peer_id);
                    }
                    SwarmEvent::OutgoingConnectionError { connection_id, error, .. } if connection_id == id => {
                        return Err(error.to_string());
                    }
                    _ => {}
                }
            }
        };
        timeout(CONNECT, connected).await.unwrap_or_else(|_| Err("timed out".to_owned())).map_err(failed)
    }

    /// Asks a connected peer.
    pub async fn ask(&mut self, peer: &PeerId, request: Request) -> Result<Response, ClientError> {
        let id = self.swarm.behaviour_mut().send_request(peer, request);
        let answer = timeout(ANSWER, self.answer_to(id)).await;
        answer.unwrap_or_else(|_| Err("timed out".to_owned())).map_err(ClientError::Answer)
    }

    async fn answer_to(&mut self, id: OutboundRequestId) -> Result<Response, String> {
        loop {
            let SwarmEvent::Behaviour(event) = self.swarm.select_next_some().await else { continue };
            match event {
                request_response::Event::Message { message: Message::Response { request_id, response }, .. }
                    if request_id == id =>
                {
                    return Ok(response);
                }
                request_response::Event::OutboundFailure { request_id, error, .. } if request_id == id => {
                    return Err(error.to_string());
                }
                _ => {}
            }
        }
    }
}
