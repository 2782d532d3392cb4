//! Answers of delegated servers, checked against the DS records of their zone: the part of [`validation`] that asks.
//!
//! The ledger is the trust anchor: DS records that it holds vouch for the keys of a delegated zone, and a zone without
//! them is not signed. Zones further below are found out about from the top: by their DS records, or by the proof that they
//! have none; those on other servers before a referral is followed there. Keys and DS records are asked for like everything
//! else, so they are in the cache, each with the servers and the trust that it depends on, and asked for once however many
//! wait.
//!
//! For one question there are at most two more for each of [`MAX_LEVELS`] labels, and the keys of the zone; all within the
//! time of that question.

use std::{pin::Pin, sync::Arc};

use hickory_proto::op::ResponseCode;

use super::{
    Authority, Client, Inner, Question, arrival, asker, cache,
    cache::Found,
    flight::Boarding,
    pool::{Pool, PoolError},
    routes::Route,
    unanswered,
    validation::{self, Bogus, Budget, Key, Proofs, Signature, Status, Zone},
};
use crate::dns::{
    answer::{Answer, Origin},
    ede::EdeCode,
    name::Dname,
    rrset::RrSet,
    rtype,
};

/// The most labels below a delegated name at which zones of their own are looked for.
const MAX_LEVELS: usize = 4;

/// Who has to have signed an answer.
enum Signer {
    /// This zone. For how long its DS records hold.
    Zone { zone: Arc<Authority>, lifetime_s: u32 },
    /// A zone that is proven not to be signed, or only in ways that nobody here can check. For how long that holds.
    Nobody { lifetime_s: u32 },
}

impl Inner {
    /// The answer if it is what its zone says, or the zone is not signed; else a failure that says why.
    pub(super) async fn checked(
        self: &Arc<Self>,
        asked: &Question,
        authority: &Arc<Authority>,
        mut answer: Answer,
        (proofs, pool): (&[RrSet], &Arc<Pool>),
    ) -> Answer {
        // Signatures themselves are not signed, and a failure says nothing.
        if cache::is_failure(&answer) || asked.qtype == rtype::RRSIG {
            return answer;
        }
        match self.judge(asked, authority, &mut answer, (proofs, pool)).await {
            Ok(Status::Secure | Status::Insecure) => answer,
            Err(Bogus { code, why }) => Answer::failure(ResponseCode::ServFail, Origin::Upstream, code, why),
        }
    }

    /// A referral, with the DS records of the zone that it leads to if that is signed. A failure if its parent does not
    /// say whether it is: name servers and glue are signed by nobody, so all that a referral may cost is a wrong address.
    pub(super) async fn checked_referral(
        self: &Arc<Self>,
        authority: &Arc<Authority>,
        mut referral: Answer,
        pool: &Arc<Pool>,
    ) -> Answer {
        let Some(cut) = referral.authority.first().map(|set| set.owner.clone()) else { return referral };
        let lifetime_s = match self.descend(authority, &cut, pool).await {
            Ok(Signer::Zone { zone, lifetime_s }) if zone.cut == cut => {
                let data = zone.signers.clone();
                let class = rtype::CLASS_IN;
                referral.authority.push(RrSet { owner: cut, rtype: rtype::DS, class, ttl_s: lifetime_s, data });
                lifetime_s
            }
            Ok(Signer::Nobody { lifetime_s }) => lifetime_s,
            Ok(Signer::Zone { .. }) => {
                let why = format!("nothing proves that {cut} is a zone of its own and not signed");
                return Answer::failure(ResponseCode::ServFail, Origin::Upstream, EdeCode::NsecMissing, why);
            }
            Err(Bogus { code, why }) => return Answer::failure(ResponseCode::ServFail, Origin::Upstream, code, why),
        };
        validation::limit(&mut referral, lifetime_s);
        referral
    }

    async fn judge(
        self: &Arc<Self>,
        asked: &Question,
        authority: &Arc<Authority>,
        answer: &mut Answer,
        (proofs, pool): (&[RrSet], &Arc<Pool>),
    ) -> Result<Status, Bogus> {
        let (now_s, mut budget) = (validation::now_s(), Budget::new());
        if asked.qtype == rtype::DNSKEY && asked.name == authority.cut {
            validation::check_keys(answer, &authority.cut, &authority.signers, now_s, &mut budget)?;
            return Ok(Status::Secure);
        }
        let signing = match self.signing_zone(asked, authority, (&*answer, proofs), pool).await? {
            Signer::Zone { zone, .. } => zone,
            Signer::Nobody { lifetime_s } => {
                validation::limit(answer, lifetime_s);
                return Ok(Status::Insecure);
            }
        };
        let keys = self.keys(&signing, pool).await?;
        let zone = Zone { apex: &signing.cut, keys: &keys, now_s };
        validation::check(asked, answer, proofs, &zone, &mut budget)
    }

    /// The zone that has to have signed an answer.
    async fn signing_zone(
        self: &Arc<Self>,
        asked: &Question,
        authority: &Arc<Authority>,
        (answer, proofs): (&Answer, &[RrSet]),
        pool: &Arc<Pool>,
    ) -> Result<Signer, Bogus> {
        // DS records are the parent's.
        let lowest = match asked.qtype {
            rtype::DS => validation::parent(&asked.name).unwrap_or_else(Dname::root),
            _ => asked.name.clone(),
        };
        let sets = answer.answer.iter().chain(&answer.authority).chain(proofs);
        let signatures = sets.filter(|set| set.rtype == rtype::RRSIG).flat_map(|set| &set.data);
        let signer = signatures.filter_map(|data| Signature::read(data)).map(|signature| signature.signer).next();
        // Where nobody has signed, everything down to the name itself may be a zone that is not.
        let signer = signer.filter(|signer| lowest.is_within(signer) && signer.is_within(&authority.cut));
        self.descend(authority, &signer.unwrap_or(lowest), pool).await
    }

    /// The zone at `to`, or the last one on the way there, by the DS records on that way.
    async fn descend(
        self: &Arc<Self>,
        authority: &Arc<Authority>,
        to: &Dname,
        pool: &Arc<Pool>,
    ) -> Result<Signer, Bogus> {
        let (mut zone, mut zone_lifetime_s) = (authority.clone(), u32::MAX);
        let way = std::iter::successors(Some(to.clone()), validation::parent);
        let mut way: Vec<Dname> =
            way.take_while(|name| *name != authority.cut && name.is_within(&authority.cut)).collect();
        for level in 0.. {
            let Some(name) = way.pop() else { break };
            if level >= MAX_LEVELS {
                let why = format!("{to} is too far below {} to find out who signs it", authority.cut);
                return Err(Bogus::new(EdeCode::DnssecIndeterminate, why));
            }
            let answer = self.learn(about(&name, rtype::DS, &zone), pool).await;
            let answer = known(answer, "DS records", &name)?;
            let signers = answer.answer.iter().find(|set| set.rtype == rtype::DS && set.owner == name);
            if let Some(signers) = signers {
                let below = Authority::new(name, zone.servers.clone()).signed_by(signers.data.clone());
                if !validation::is_signed(&below.signers) {
                    return Ok(Signer::Nobody { lifetime_s: zone_lifetime_s.min(signers.ttl_s) });
                }
                (zone, zone_lifetime_s) = (Arc::new(below), zone_lifetime_s.min(signers.ttl_s));
                continue;
            }
            if !answer.answer.is_empty() {
                // An alias is no cut. What comes with its end is not about this name, and was checked by nobody.
                continue;
            }
            if Proofs::read(&zone.cut, &answer.authority).is_unsigned_cut(&name, &mut Budget::new())? {
                let lifetime_s = answer.authority.iter().map(|set| set.ttl_s).min().unwrap_or(0);
                return Ok(Signer::Nobody { lifetime_s: zone_lifetime_s.min(lifetime_s) });
            }
            if answer.rcode == ResponseCode::NXDomain {
                break;
            }
        }
        Ok(Signer::Zone { zone, lifetime_s: zone_lifetime_s })
    }

    /// The keys that may sign a zone.
    async fn keys(self: &Arc<Self>, zone: &Arc<Authority>, pool: &Arc<Pool>) -> Result<Vec<Key>, Bogus> {
        let answer = self.learn(about(&zone.cut, rtype::DNSKEY, zone), pool).await;
        Ok(validation::keys_in(&known(answer, "keys", &zone.cut)?))
    }

    /// What is known, or what the servers say and is found to be right.
    fn learn<'a>(
        self: &'a Arc<Self>,
        question: Question,
        pool: &'a Arc<Pool>,
    ) -> Pin<Box<dyn Future<Output = Answer> + Send + 'a>> {
        Box::pin(async move {
            if let Found::Fresh { answer, .. } = self.cache.find(&question, self.clock.now_ms()) {
                return answer;
            }
            // Nothing of this has addresses that could lead anywhere.
            let route = Route { pool: pool.clone(), is_rule: true, may_be_local: true };
            match self.flights.board(&question, asker(&route, Client::Own)) {
                Boarding::Leader(flight, landing) => {
                    // A task of its own: others may wait for it when the question that began it has ended.
                    tokio::spawn(self.clone().fly(flight, route));
                    arrival(landing).await
                }
                Boarding::Waiter(landing) => arrival(landing).await,
                Boarding::Full => unanswered(PoolError::Overloaded),
            }
        })
    }
}

fn about(name: &Dname, qtype: u16, zone: &Arc<Authority>) -> Question {
    let authority = Some(zone.clone());
    Question { name: name.clone(), qtype, dnssec_ok: true, checking_disabled: false, authority }
}

fn known(answer: Answer, what: &str, name: &Dname) -> Result<Answer, Bogus> {
    if !cache::is_failure(&answer) {
        return Ok(answer);
    }
    let Some(ede) = answer.ede else {
        return Err(Bogus::new(EdeCode::NoReachableAuthority, format!("the {what} of {name} cannot be had")));
    };
    match ede.code.is_of_validation() {
        true => Err(Bogus { code: ede.code, why: ede.text }),
        false => Err(Bogus::new(ede.code, format!("the {what} of {name} cannot be had: {}", ede.text))),
    }
}
