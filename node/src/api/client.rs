//! Client of the HTTP interface, over the node's unix socket or loopback TCP.
//!
//! One connection per request: requests are rare, and a fresh connection cannot be stale. Every call has a deadline
//! and a bound on the bytes it accepts. Errors say which of four things went wrong, so that a command line can map
//! them to exit codes.

mod connect;
mod error;
mod events;

use std::{path::PathBuf, time::Duration};

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Method, Request, Response, body::Bytes, body::Incoming, header};
use serde::{Serialize, de::DeserializeOwned};

pub use connect::{Endpoint, EndpointError};
pub use error::ClientError;
pub use events::EventStream;

use super::types::{
    AdoptFork, AdoptedFork, BlockDetail, BlockList, CommitList, CommitQuery, ErrorEnvelope, FlushAnswers,
    FlushedAnswers, MempoolList, NameAnswer, NameHistory, NameList, NameProof, NewOperation, Operation, OperationList,
    PeerList, ReloadedConfiguration, ResumeOperation, Status, SubmitTransaction, Submitted, TransactionView,
};

/// Largest answer accepted, in bytes: a list of 1,000 names with room to spare.
const MAX_ANSWER_BYTES: usize = 8 << 20;

/// Which names to list. Unset fields do not restrict.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameQuery {
    /// Address of the owner.
    pub owner: Option<String>,
    /// Beginning of the name.
    pub prefix: Option<String>,
    /// Expiring within so many blocks.
    pub expiring_within: Option<u32>,
    /// Names after this one.
    pub after: Option<String>,
    /// At most so many.
    pub limit: Option<u32>,
}

/// A client of one node. Cheap to clone; holds no connection.
#[derive(Clone)]
pub struct Client {
    endpoint: Endpoint,
    token: Option<String>,
    timeout: Duration,
}

impl Client {
    /// A client of the node at `endpoint`. `token` is needed for writes over TCP; `timeout` bounds each call.
    pub fn new(endpoint: Endpoint, token: Option<String>, timeout: Duration) -> Self {
        Self { endpoint, token, timeout }
    }

    /// A client of the node whose socket is at `path`; the socket's permissions stand in for a token.
    pub fn unix(path: impl Into<PathBuf>) -> Self {
        Self::new(Endpoint::Unix(path.into()), None, Duration::from_secs(10))
    }

    /// Where the node is.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// `GET /v1/status`.
    pub async fn status(&self) -> Result<Status, ClientError> {
        self.get("/v1/status").await
    }

    /// `GET /v1/names/{name}`.
    pub async fn name(&self, name: &str) -> Result<NameAnswer, ClientError> {
        self.get(&format!("/v1/names/{}", escape(name))).await
    }

    /// `GET /v1/names`.
    pub async fn names(&self, query: &NameQuery) -> Result<NameList, ClientError> {
        let pairs = [
            ("owner", query.owner.clone()),
            ("prefix", query.prefix.clone()),
            ("expiring_within", query.expiring_within.map(|n| n.to_string())),
            ("after", query.after.clone()),
            ("limit", query.limit.map(|n| n.to_string())),
        ];
        self.get(&format!("/v1/names{}", query_string(&pairs))).await
    }

    /// `GET /v1/names/{name}/history`.
    pub async fn history(&self, name: &str) -> Result<NameHistory, ClientError> {
        self.get(&format!("/v1/names/{}/history", escape(name))).await
    }

    /// `GET /v1/names/{name}/proof`.
    pub async fn proof(&self, name: &str) -> Result<NameProof, ClientError> {
        self.get(&format!("/v1/names/{}/proof", escape(name))).await
    }

    /// `GET /v1/blocks`.
    pub async fn blocks(&self, before: Option<u32>, limit: Option<u32>) -> Result<BlockList, ClientError> {
        let pairs = [("before", before.map(|n| n.to_string())), ("limit", limit.map(|n| n.to_string()))];
        self.get(&format!("/v1/blocks{}", query_string(&pairs))).await
    }

    /// `GET /v1/blocks/{height|hash}`.
    pub async fn block(&self, height_or_hash: &str) -> Result<BlockDetail, ClientError> {
        self.get(&format!("/v1/blocks/{}", escape(height_or_hash))).await
    }

    /// `GET /v1/transactions/{txid}`.
    pub async fn transaction(&self, txid: &str) -> Result<TransactionView, ClientError> {
        self.get(&format!("/v1/transactions/{}", escape(txid))).await
    }

    /// `GET /v1/mempool`.
    pub async fn mempool(&self) -> Result<MempoolList, ClientError> {
        self.get("/v1/mempool").await
    }

    /// `GET /v1/peers`.
    pub async fn peers(&self) -> Result<PeerList, ClientError> {
        self.get("/v1/peers").await
    }

    /// `POST /v1/transactions`: a complete transaction.
    pub async fn submit(&self, transaction_hex: &str) -> Result<Submitted, ClientError> {
        self.post("/v1/transactions", &SubmitTransaction { hex: transaction_hex.to_owned() }).await
    }

    /// `POST /v1/commits`: which of these stand on the chain.
    pub async fn commits(&self, query: &CommitQuery) -> Result<CommitList, ClientError> {
        self.post("/v1/commits", query).await
    }

    /// `POST /v1/chain/adopt`: follows the chain that ends in this block.
    pub async fn adopt_fork(&self, hash: &str) -> Result<AdoptedFork, ClientError> {
        self.post("/v1/chain/adopt", &AdoptFork { hash: hash.to_owned() }).await
    }

    /// `POST /v1/resolver/reload`: the configuration is read again.
    pub async fn reload(&self) -> Result<ReloadedConfiguration, ClientError> {
        self.post("/v1/resolver/reload", &serde_json::json!({})).await
    }

    /// `POST /v1/resolver/flush`: cached answers about a name and what is below it are dropped, or all.
    pub async fn flush_answers(&self, name: Option<&str>) -> Result<FlushedAnswers, ClientError> {
        self.post("/v1/resolver/flush", &FlushAnswers { name: name.map(str::to_owned) }).await
    }

    /// `POST /v1/operations`.
    pub async fn start_operation(&self, operation: &NewOperation) -> Result<Operation, ClientError> {
        self.post("/v1/operations", operation).await
    }

    /// `GET /v1/operations`, newest first.
    pub async fn operations(&self) -> Result<OperationList, ClientError> {
        self.get("/v1/operations").await
    }

    /// `GET /v1/operations/{id}`. A prefix that fits one operation only is enough.
    pub async fn operation(&self, id: &str) -> Result<Operation, ClientError> {
        self.get(&format!("/v1/operations/{}", escape(id))).await
    }

    /// `POST /v1/operations/{id}/cancel`.
    pub async fn cancel_operation(&self, id: &str) -> Result<Operation, ClientError> {
        self.post(&format!("/v1/operations/{}/cancel", escape(id)), &serde_json::json!({})).await
    }

    /// `POST /v1/operations/{id}/resume`.
    pub async fn resume_operation(&self, id: &str, resume: &ResumeOperation) -> Result<Operation, ClientError> {
        self.post(&format!("/v1/operations/{}/resume", escape(id)), resume).await
    }

    /// `GET /v1/events`; over TCP without a token, tips only. The stream has no deadline of its own.
    pub async fn events(&self) -> Result<EventStream, ClientError> {
        let request = self.request(Method::GET, "/v1/events", Bytes::new())?;
        let answer = self.in_time(connect::send(&self.endpoint, request)).await??;
        if answer.status().is_success() {
            return Ok(EventStream::new(answer.into_body(), self.endpoint.clone()));
        }
        Err(self.refusal(answer).await)
    }

    /// Any `GET` of the interface, as raw JSON: for `namectl api`.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.call(Method::GET, path, Bytes::new()).await
    }

    /// Any `POST` of the interface.
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, ClientError> {
        let bytes = serde_json::to_vec(body).map_err(|error| ClientError::Decode(error.to_string()))?;
        self.call(Method::POST, path, bytes.into()).await
    }

    async fn call<T: DeserializeOwned>(&self, method: Method, path: &str, body: Bytes) -> Result<T, ClientError> {
        let request = self.request(method, path, body)?;
        self.in_time(async {
            let answer = connect::send(&self.endpoint, request).await?;
            if !answer.status().is_success() {
                return Err(self.refusal(answer).await);
            }
            let bytes = self.read(answer).await?;
            serde_json::from_slice(&bytes).map_err(|error| ClientError::Decode(error.to_string()))
        })
        .await?
    }

    fn request(&self, method: Method, path: &str, body: Bytes) -> Result<Request<Full<Bytes>>, ClientError> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, self.endpoint.host())
            .header(header::ACCEPT, "application/json, text/event-stream")
            .header(header::CONTENT_TYPE, "application/json");
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        request.body(Full::new(body)).map_err(|error| ClientError::Decode(error.to_string()))
    }

    async fn refusal(&self, answer: Response<Incoming>) -> ClientError {
        let status = answer.status().as_u16();
        match self.read(answer).await {
            Ok(bytes) => match serde_json::from_slice::<ErrorEnvelope>(&bytes) {
                Ok(envelope) => ClientError::of_refusal(status, envelope.error),
                Err(error) => ClientError::Decode(format!("HTTP {status}: {error}")),
            },
            Err(error) => error,
        }
    }

    async fn read(&self, answer: Response<Incoming>) -> Result<Bytes, ClientError> {
        let body = Limited::new(answer.into_body(), MAX_ANSWER_BYTES);
        match body.collect().await {
            Ok(collected) => Ok(collected.to_bytes()),
            Err(error) => Err(ClientError::Decode(error.to_string())),
        }
    }

    async fn in_time<T>(&self, call: impl Future<Output = T>) -> Result<T, ClientError> {
        tokio::time::timeout(self.timeout, call).await.map_err(|_| ClientError::Timeout(self.timeout))
    }
}

/// Percent-encodes all but unreserved characters (RFC 3986 §2.3), so that no value can leave its path segment.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

fn query_string(pairs: &[(&str, Option<String>)]) -> String {
    let set: Vec<String> = pairs
        .iter()
        .filter_map(|(key, value)| value.as_ref().map(|value| format!("{key}={}", escape(value))))
        .collect();
    if set.is_empty() { String::new() } else { format!("?{}", set.join("&")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_cannot_leave_their_place() {
        assert_eq!(escape("alice"), "alice");
        assert_eq!(escape("../a?b#c d"), "..%2Fa%3Fb%23c%20d");
        assert_eq!(query_string(&[("a", None), ("b", Some("x&y".into())), ("c", Some("1".into()))]), "?b=x%26y&c=1");
        assert_eq!(query_string(&[("a", None)]), "");
    }
}
