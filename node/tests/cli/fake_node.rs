//! A node of cardboard on a unix socket.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::StatusCode,
    routing::{get, post},
};
use ledger::{
    codec::decode,
    hash::{BlockHash, PolicyHash, Tag, from_hex, hash, to_hex},
    key::{sighash, to_address},
    name::Name,
    params::{Network, Params},
    record::Records,
    transaction::{Body, RevokeMode, Transaction, commit_hash},
};
use serde_json::{Value, json};

/// Height of the tip at the start.
const TIP: u32 = 20_000;

/// One name.
#[derive(Clone)]
struct Held {
    owner: PolicyHash,
    pending: Option<(PolicyHash, u32)>,
    seq: u64,
    expires_at: u32,
    revoked: bool,
    records: Records,
}

/// One operation and the states that it still goes through.
struct Op {
    id: String,
    action: &'static str,
    state: &'static str,
    next: Vec<&'static str>,
    hex: Option<String>,
    body: Body,
    error: Option<Value>,
}

/// What the tests may bend.
#[derive(Default)]
pub struct Inner {
    names: BTreeMap<Name, Held>,
    operations: Vec<Op>,
    pub height: u32,
    pub synced: bool,
    /// The next operation asks once for a new signature.
    pub forget_signature: bool,
    /// The next operation fails.
    pub fail_next: bool,
    /// The next registration is won by an older reveal of the same owner, without records.
    pub older_reveal: bool,
    /// Commits that stand on the chain, and whether they are spent.
    commits: BTreeMap<String, bool>,
    /// The node's configuration file has a mistake.
    pub bad_configuration: bool,
    /// Operations stay where they are.
    pub stuck: bool,
    /// Requests that changed something.
    pub posts: usize,
}

/// The running node.
pub struct FakeNode {
    pub inner: Arc<Mutex<Inner>>,
    _runtime: tokio::runtime::Runtime,
}

type Shared = State<Arc<Mutex<Inner>>>;
type Answer = Result<Json<Value>, (StatusCode, Json<Value>)>;

fn params() -> &'static Params {
    Network::Local.params()
}

fn block_hash(height: u32) -> BlockHash {
    hash(Tag::Header, &[&height.to_le_bytes()]).into_other()
}

impl FakeNode {
    pub fn start(socket: PathBuf) -> Self {
        let inner = Arc::new(Mutex::new(Inner { height: TIP, synced: true, ..Inner::default() }));
        let app = Router::new()
            .route("/v1/status", get(status))
            .route("/v1/peers", get(peers))
            .route("/v1/names", get(names))
            .route("/v1/names/{name}", get(name))
            .route("/v1/commits", post(commits))
            .route("/v1/resolver/flush", post(flush))
            .route("/v1/resolver/reload", post(reload))
            .route("/v1/operations", get(operations).post(start))
            .route("/v1/operations/{id}", get(operation))
            .route("/v1/operations/{id}/cancel", post(cancel))
            .route("/v1/operations/{id}/resume", post(resume))
            .with_state(inner.clone());
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let listener = runtime.block_on(async { tokio::net::UnixListener::bind(socket).expect("binds") });
        runtime.spawn(async move { axum::serve(listener, app).await });
        Self { inner, _runtime: runtime }
    }

    pub fn with<T>(&self, act: impl FnOnce(&mut Inner) -> T) -> T {
        act(&mut self.inner.lock().expect("no test panics inside"))
    }
}

async fn status(State(node): Shared) -> Json<Value> {
    let node = node.lock().expect("not poisoned");
    let p = params();
    let recent: Vec<Value> = (0..p.anchor_window)
        .map(|depth| node.height - depth)
        .map(|height| json!({ "height": height, "hash": block_hash(height).to_string(), "price_bytes": 256, "price_commit": 256 }))
        .collect();
    Json(json!({
        "v": 1, "network": "local", "chain_id": p.chain_id().to_string(), "height": node.height,
        "hash": block_hash(node.height).to_string(), "time": "2026-11-23T00:00:00Z", "total_work": "1", "synced": node.synced,
        "tip_age_seconds": 7_200, "state": state_of(&node),
        "sync_reason": (!node.synced).then_some("no peers"), "target_height": if node.synced { node.height } else { node.height * 2 },
        "peers": 3, "network_problems": ["configured peer /ip4/192.0.2.8/tcp/9353 is not reached: no answer"], "names": node.names.len(), "price_bytes": 256, "price_commit": 256, "mempool": { "count": 0, "bytes": 0 },
        "mining": { "mode": "auto", "active": true, "hashrate": 4900.0, "threads": 1 }, "version": "0.1.0", "uptime_seconds": 60,
        "params": {
            "maturity": p.maturity, "contest": p.contest, "commit_ttl": p.commit_ttl, "term": p.term,
            "renew_window": p.renew_window, "grace": p.grace, "transfer_delay": p.transfer_delay,
            "release_delay": p.release_delay, "burn_lock": p.burn_lock, "anchor_window": p.anchor_window,
            "anchor_depth": p.anchor_depth, "block_interval_seconds": p.block_interval, "p_commit": p.p_commit,
        },
        "recent": recent, "dns_listen": ["127.0.0.1:5354"], "suffixes": ["p2p"],
    }))
}

async fn peers() -> Json<Value> {
    let peer = json!({ "id": "x", "address": "/ip4/192.0.2.1/tcp/9353", "direction": "outbound", "height": 7, "rtt_ms": 12.5 });
    Json(json!({ "v": 1, "listen": ["/ip4/127.0.0.1/tcp/9353"], "peers": [peer],
        "configured": [
            { "address": "/ip4/192.0.2.7/tcp/9353", "state": "connected" },
            { "address": "/ip4/192.0.2.8/tcp/9353", "state": "failing", "code": "refused", "failures": 3,
              "reason": "connection refused: nothing listens there" },
            { "address": "/ip4/192.0.2.9/tcp/9353", "state": "trying" },
        ] }))
}

async fn flush(State(node): Shared, Json(body): Json<Value>) -> Json<Value> {
    node.lock().expect("not poisoned").posts += 1;
    Json(json!({ "v": 1, "name": body.get("name"), "answers": 12 }))
}

async fn reload(State(node): Shared) -> Answer {
    let mut node = node.lock().expect("not poisoned");
    node.posts += 1;
    match node.bad_configuration {
        true => Err(refusal(StatusCode::UNPROCESSABLE_ENTITY, "bad_configuration", "n.toml:3: unknown key `x`")),
        false => Ok(Json(json!({
            "v": 1, "changed": ["dns.guard.deny", "log.level"], "needs_restart": ["dns.listen"], "hosts_names": 2,
        }))),
    }
}

fn state_of(node: &Inner) -> &'static str {
    if node.synced { "quiet" } else { "offline" }
}

fn status_of(held: Option<&Held>) -> &'static str {
    match held {
        None => "free",
        Some(held) if held.revoked => "revoked",
        Some(_) => "active",
    }
}

fn entry(held: &Held) -> Value {
    json!({
        "owner": to_address(params(), &held.owner), "seq": held.seq, "registered": 10, "active_from": 13,
        "expires_at": held.expires_at, "expires_time": "2027-11-23T00:00:00Z", "grace_until": held.expires_at + params().grace,
        "last_update": 10, "commit_height": 7, "not_before": 0, "revoked": held.revoked,
        "pending": held.pending.map(|(owner, at)| json!({ "owner": to_address(params(), &owner), "at": at })),
        "records_hex": to_hex(&held.records.to_bytes()), "records": [],
    })
}

async fn name(State(node): Shared, Path(text): Path<String>) -> Answer {
    let node = node.lock().expect("not poisoned");
    let name = Name::new(&text).map_err(|error| refusal(StatusCode::BAD_REQUEST, "bad_name", &error.to_string()))?;
    let held = node.names.get(&name);
    let locked_to = params().locked_domain(name.as_str());
    let status = match held {
        None if name.is_reserved() => "reserved",
        None if locked_to.is_some() => "locked",
        held => status_of(held),
    };
    Ok(Json(json!({
        "v": 1, "name": text, "status": status, "state": held.map(entry), "height": node.height, "hash": block_hash(node.height).to_string(),
        "tip_age_seconds": 7_200, "sync_state": state_of(&node), "locked_to": locked_to,
    })))
}

async fn names(State(node): Shared, Query(query): Query<BTreeMap<String, String>>) -> Json<Value> {
    let node = node.lock().expect("not poisoned");
    let fits = |name: &Name, held: &Held| {
        query.get("owner").is_none_or(|owner| *owner == to_address(params(), &held.owner))
            && query.get("prefix").is_none_or(|prefix| name.as_str().starts_with(prefix.as_str()))
    };
    let list: Vec<Value> = node.names.iter().filter(|(name, held)| fits(name, held)).map(|(name, held)| json!({
        "name": name.as_str(), "status": status_of(Some(held)), "owner": to_address(params(), &held.owner), "seq": held.seq,
        "expires_at": held.expires_at, "expires_time": "2027-11-23T00:00:00Z", "record_count": held.records.as_slice().len(),
    })).collect();
    let prefix = query.get("prefix").filter(|_| query.len() == 2);
    let locked: Vec<Value> = params()
        .locked
        .iter()
        .filter(|(label, _)| prefix.is_some_and(|prefix| label.starts_with(prefix.as_str())))
        .map(|(label, domain)| json!({ "name": label, "locked_to": domain }))
        .collect();
    Json(json!({
        "v": 1, "names": list, "locked": locked, "height": node.height, "hash": block_hash(node.height).to_string(),
        "tip_age_seconds": 7_200, "sync_state": state_of(&node),
    }))
}

fn refusal(status: StatusCode, code: &str, message: &str) -> (StatusCode, Json<Value>) {
    let error =
        json!({ "code": code, "message": message, "why": "the fake node says so", "fix": ["try something else"] });
    (status, Json(json!({ "v": 1, "error": error })))
}

/// Decodes a transaction and checks its anchor and signature with the ledger's own code.
fn checked(node: &Inner, hex: &str) -> Result<Transaction, (StatusCode, Json<Value>)> {
    let bad = |message: &str| refusal(StatusCode::UNPROCESSABLE_ENTITY, "bad_transaction", message);
    let tx: Transaction =
        from_hex(hex).and_then(|bytes| decode(&bytes).ok()).ok_or_else(|| bad("not a transaction"))?;
    let is_reveal = matches!(tx.body(), Body::Reveal { .. });
    let (height, anchor) = if is_reveal {
        (0, params().genesis_hash())
    } else {
        (node.height - params().anchor_depth, block_hash(tx.anchor().height))
    };
    if !tx.anchor().matches(&anchor) || tx.anchor().height != height {
        return Err(bad("wrong anchor"));
    }
    let digest = sighash(&params().chain_id(), &anchor, &tx.txid());
    let witness = tx.witness().ok_or_else(|| bad("unsigned"))?;
    if witness.verifies(&digest) { Ok(tx) } else { Err(bad("bad signature")) }
}

async fn start(State(node): Shared, Json(request): Json<Value>) -> Answer {
    let mut node = node.lock().expect("not poisoned");
    node.posts += 1;
    if request["kind"] == "renew" {
        return renew(&mut node, request["name"].as_str().unwrap_or_default());
    }
    let register = request["kind"] == "register";
    let hex = request[if register { "reveal_hex" } else { "transaction_hex" }].as_str().unwrap_or_default().to_owned();
    let transaction = checked(&node, &hex)?;
    let action = may_apply(&node, &transaction, &request)
        .map_err(|why| refusal(StatusCode::UNPROCESSABLE_ENTITY, "rule", why))?;
    if register {
        node.commits.entry(request["commit"]["commit_hash"].to_string().replace('"', "")).or_insert(false);
    }
    let older_reveal = register && std::mem::take(&mut node.older_reveal);
    let mut next = if older_reveal {
        vec!["older_reveal", "contest", "maturing", "broadcast"]
    } else if register {
        vec!["done", "contest", "revealing", "maturing", "broadcast"]
    } else {
        vec!["done", "broadcast"]
    };
    if std::mem::take(&mut node.forget_signature) {
        next.push("needs_signature");
    }
    if std::mem::take(&mut node.fail_next) {
        next = vec!["failed"];
    }
    let id = format!("01J9ZZZZ{:018}", node.operations.len());
    let body = transaction.body().clone();
    node.operations.push(Op { id, action, state: "working", next, hex: Some(hex), body, error: None });
    let op = node.operations.last().expect("just pushed");
    Ok(Json(show(&node, op)))
}

/// A renewal needs no key.
fn renew(node: &mut Inner, text: &str) -> Answer {
    let name = Name::new(text).map_err(|error| refusal(StatusCode::BAD_REQUEST, "bad_name", &error.to_string()))?;
    let held = node.names.get(&name);
    let held = held.ok_or_else(|| refusal(StatusCode::UNPROCESSABLE_ENTITY, "name_not_found", "no such name"))?;
    let body = Body::Renew { name, expires_at: held.expires_at };
    let (id, next) = (format!("01J9ZZZZ{:018}", node.operations.len()), vec!["done", "broadcast"]);
    node.operations.push(Op { id, action: "renew", state: "working", next, hex: None, body, error: None });
    Ok(Json(show(node, node.operations.last().expect("just pushed"))))
}

async fn commits(State(node): Shared, Json(request): Json<Value>) -> Json<Value> {
    let node = node.lock().expect("not poisoned");
    let asked = request["commit_hashes"].as_array().cloned().unwrap_or_default();
    assert!(asked.len() <= 512, "more than a node answers at once");
    let standing: Vec<Value> = asked
        .iter()
        .filter_map(|hash| node.commits.get_key_value(hash.as_str()?))
        .map(|(hash, spent)| json!({ "commit_hash": hash, "commit_height": node.height, "spent": spent }))
        .collect();
    Json(json!({ "v": 1, "commits": standing, "height": node.height }))
}

/// The rules that matter here: who may sign, and with which number.
fn may_apply(node: &Inner, tx: &Transaction, request: &Value) -> Result<&'static str, &'static str> {
    let signer = tx.witness().expect("checked").signer();
    if let Body::Reveal { class, name, salt, owner, .. } = tx.body() {
        let expected = commit_hash(&params().chain_id(), salt, owner, name).to_string();
        let sound = *owner == signer && request["commit"]["commit_hash"] == expected && *class == name.price_class();
        let free = !node.names.contains_key(name);
        return if sound && free {
            Ok("register")
        } else {
            Err("the reveal does not fit its commit, or the name is taken")
        };
    }
    let held = tx.body().name().and_then(|name| node.names.get(name)).ok_or("no such name")?;
    let lead = match tx.body() {
        Body::Cancel { .. } => 1 << 10,
        Body::Revoke { .. } => 1 << 11,
        _ => 1 << 8,
    };
    if held.owner != signer || tx.body().seq().is_none_or(|seq| seq < held.seq + lead) {
        return Err("not the owner, or not far enough ahead of an operator");
    }
    match tx.body() {
        Body::Update { .. } => Ok("update"),
        Body::Transfer { .. } => Ok("transfer"),
        Body::Cancel { .. } if held.pending.is_some() => Ok("cancel"),
        Body::Revoke { .. } => Ok("revoke"),
        _ => Err("not now"),
    }
}

fn apply(node: &mut Inner, body: &Body) {
    let height = node.height;
    if let Body::Reveal { name, owner, records, salt, .. } = body {
        node.commits.insert(commit_hash(&params().chain_id(), salt, owner, name).to_string(), true);
        let held = Held {
            owner: *owner,
            pending: None,
            seq: 1,
            expires_at: height + params().term,
            revoked: false,
            records: records.clone(),
        };
        node.names.insert(name.clone(), held);
        return;
    }
    let Some(held) = body.name().and_then(|name| node.names.get_mut(name)) else { return };
    held.seq = body.seq().unwrap_or(held.seq);
    match body {
        Body::Update { records: Some(records), .. } => held.records = records.clone(),
        Body::Transfer { owner, .. } => held.pending = Some((*owner, height + params().transfer_delay)),
        Body::Cancel { .. } => held.pending = None,
        Body::Renew { .. } => held.expires_at += params().term,
        Body::Revoke { mode, .. } => {
            held.revoked = true;
            held.records = Records::empty();
            held.expires_at =
                height + if *mode == RevokeMode::Burn { params().burn_lock } else { params().release_delay };
        }
        _ => {}
    }
}

fn show(node: &Inner, op: &Op) -> Value {
    let past = |states: &[&str]| !states.contains(&op.state);
    json!({
        "v": 1, "id": op.id, "kind": if op.action == "register" { "register" } else { "change" }, "action": op.action,
        "name": op.body.name().map(Name::as_str), "state": op.state, "txids": [],
        "commit_height": past(&["working", "broadcast", "needs_signature", "failed"]).then_some(node.height - 1),
        "reveal_height": matches!(op.state, "contest" | "done").then_some(node.height),
        "progress": (op.state == "working").then(|| json!({ "hashes_done": 5, "expected_hashes": 10, "rate_hps": 4900.0, "eta_seconds": 3 })),
        "created_at": "2026-11-23T00:00:00Z", "updated_at": "2026-11-23T00:00:00Z", "error": op.error,
        "transaction_hex": op.hex, "height": node.height,
    })
}

async fn operation(State(node): Shared, Path(id): Path<String>) -> Answer {
    let mut node = node.lock().expect("not poisoned");
    let at = find(&node, &id)?;
    if !node.stuck && node.operations[at].state != "needs_signature" {
        step(&mut node, at);
    }
    Ok(Json(show(&node, &node.operations[at])))
}

fn find(node: &Inner, id: &str) -> Result<usize, (StatusCode, Json<Value>)> {
    let none = || refusal(StatusCode::NOT_FOUND, "no_operation", "no operation begins with that");
    // The last one: ids of one test differ in their last digits only.
    node.operations.iter().rposition(|op| op.id.starts_with(id)).ok_or_else(none)
}

fn step(node: &mut Inner, at: usize) {
    let Some(state) = node.operations[at].next.pop() else { return };
    node.operations[at].state = state;
    match state {
        "done" => {
            let body = node.operations[at].body.clone();
            apply(node, &body);
        }
        "older_reveal" => {
            let mut body = node.operations[at].body.clone();
            if let Body::Reveal { records, .. } = &mut body {
                *records = Records::empty();
            }
            apply(node, &body);
            let op = &mut node.operations[at];
            op.state = "needs_signature";
            op.error = Some(json!({ "code": "older_reveal", "message": "an older reveal won", "why": "", "fix": [] }));
        }
        "failed" => {
            node.operations[at].error = Some(
                json!({ "code": "beaten", "message": "somebody committed earlier", "why": "the earliest commit wins", "fix": ["choose another name"] }),
            )
        }
        // The signature is lost because the chain went on.
        "needs_signature" => node.height += params().anchor_window,
        _ => {}
    }
}

async fn operations(State(node): Shared) -> Json<Value> {
    let node = node.lock().expect("not poisoned");
    let list: Vec<Value> = node.operations.iter().rev().map(|op| show(&node, op)).collect();
    Json(json!({ "v": 1, "operations": list }))
}

async fn cancel(State(node): Shared, Path(id): Path<String>) -> Answer {
    let mut node = node.lock().expect("not poisoned");
    node.posts += 1;
    let at = find(&node, &id)?;
    node.operations[at].next.clear();
    node.operations[at].state = "cancelled";
    Ok(Json(show(&node, &node.operations[at])))
}

async fn resume(State(node): Shared, Path(id): Path<String>, Json(request): Json<Value>) -> Answer {
    let mut node = node.lock().expect("not poisoned");
    node.posts += 1;
    let at = find(&node, &id)?;
    if let Some(hex) = request["transaction_hex"].as_str() {
        let again = checked(&node, hex)?;
        let corrects = match (&node.operations[at].body, again.body()) {
            (Body::Reveal { records: wanted, .. }, Body::Update { records: Some(records), operator: Some(_), .. }) => {
                wanted == records && may_apply(&node, &again, &request).is_ok()
            }
            (old, new) => old == new,
        };
        if !corrects {
            return Err(refusal(StatusCode::UNPROCESSABLE_ENTITY, "other_body", "another transaction"));
        }
        let op = &mut node.operations[at];
        if op.error.take().is_some() {
            op.next = vec!["done"];
        }
        op.body = again.body().clone();
        op.state = "working";
    }
    Ok(Json(show(&node, &node.operations[at])))
}
