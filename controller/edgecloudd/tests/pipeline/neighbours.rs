//! From one domain to another.

use edgecloudd::fake_switch::{ACK, SYN, SYN_ACK};
use edgecloudd::pipeline::ReplicaState::Live;

use crate::world::*;

const CALLER: &str = "10.0.1.11";
const CALLED: &str = "10.0.1.15";
const CALLS: &str = "[[call]]\nto = { name = \"up.photos.example\", tcp = [8080, 22] }\n";
const SERVES: &str = "[[serve]]\nas = \"up.photos.example\"\ntcp = [8080]\n";

fn two(calls: &str, serves: &str) -> World {
    let caller = application(3, calls, vec![replica(1, Live)]);
    let called = application(4, serves, vec![replica(5, Live)]);
    let names = names(&[("up.photos.example", &[CALLED], &[])]);
    World::new(vec![caller, called], names)
}

#[test]
fn a_call_needs_the_callers_token_and_the_calleds() {
    let mut world = two(CALLS, SERVES);
    let call = |port, flags| replica_tcp(1, (CALLER, CALLED), (4000, port), flags);
    let reply = |flags| {
        let mut reply = replica_tcp(5, (CALLED, CALLER), (8080, 4000), flags);
        reply.set(openflow::Field::EthDst, openflow::mac(replica_mac(1)));
        reply
    };
    world.check(&reply(SYN_ACK), "deny unspoken");
    world.check(&call(8080, SYN), "replica 5 to replica 5");
    // It was sent to the gateway's MAC address, so it is answered from there.
    world.check(&reply(SYN_ACK), "replica 1 from gateway");
    world.check(&call(8080, ACK), "replica 5 to replica 5");
    world.check(&call(22, SYN), "deny unspoken");
    let silent = "[[speak]]\nprotocols = [\"dns\"]\n";
    let mut world = two(silent, SERVES);
    world.check(&call(8080, SYN), "deny unspoken");
    let mut world = two(CALLS, silent);
    world.check(&call(8080, SYN), "deny unspoken");
}

#[test]
fn a_neighbours_answer_ends_when_either_is_revoked() {
    let mut world = two(CALLS, SERVES);
    let call = replica_tcp(1, (CALLER, CALLED), (4000, 8080), SYN);
    world.check(&call, "replica 5 to replica 5");
    world.switch.flush_zone(3);
    world.reference.flush(3);
    let reply = replica_tcp(5, (CALLED, CALLER), (8080, 4000), SYN_ACK);
    world.check(&reply, "deny unspoken");
}
