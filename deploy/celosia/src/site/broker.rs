//! Owns what the MQTT broker of a site is told: Mosquitto's configuration, and the list of who may read and write what.
//!
//! A user is the common name of a certificate of the site. A device writes its own status, reported and reply and reads
//! its own desired and command. Beside that: gateways read where fog nodes are, a fog node writes where it is, the
//! bridge writes results; the console and the administrator read everything that devices say and write commands.
//! Mosquitto lets anybody subscribe to anything and delivers what may be read.

use proto::{Identity, Role, SiteId, limits::PAYLOAD_BYTES_MAX, topic};

use super::ports::loopback;

/// Room for a topic, properties and the packet's header beside the largest payload.
const PACKET_BYTES_MAX: usize = PAYLOAD_BYTES_MAX + 4096;

/// Mosquitto's configuration. Paths count from its working folder, which is the one of this file.
#[must_use]
pub(super) fn configuration(port: u16) -> String {
    let host = loopback(port).ip();
    format!(
        "# Written by celosia at each start.\n\
         listener {port} {host}\n\
         cafile ../pki/broker/roots.pem\n\
         certfile ../pki/broker/chain.pem\n\
         keyfile ../pki/broker/key.pem\n\
         tls_version tlsv1.3\n\
         require_certificate true\n\
         use_identity_as_username true\n\
         allow_anonymous false\n\
         acl_file broker.acl\n\
         max_packet_size {PACKET_BYTES_MAX}\n\
         set_tcp_nodelay true\n\
         # Everything retained is said again by its owner after a reconnect.\n\
         persistence false\n\
         # Only looked at when started by root: the keys are for their owner only.\n\
         user root\n\
         log_dest stderr\n\
         log_type error\n\
         log_type warning\n\
         log_type notice\n\
         log_type information\n\
         log_timestamp_format %Y-%m-%dT%H:%M:%S\n"
    )
}

/// Who may read and write what, in Mosquitto's form. A user that is not here may nothing.
#[must_use]
pub(super) fn access(identities: &[Identity]) -> String {
    let mut text = "# Written by celosia at each start.\n".to_owned();
    for identity in identities {
        text.push_str(&format!("\nuser {}\n", identity.common_name()));
        for (may, filter) in rules(identity) {
            text.push_str(&format!("topic {may} {filter}\n"));
        }
    }
    text
}

fn rules(identity: &Identity) -> Vec<(&'static str, String)> {
    let site = &identity.site;
    let (read, write) = ("read", "write");
    let mut rules = vec![
        (write, topic::status(identity)),
        (write, of_device(identity, "reported")),
        (write, topic::reply(identity)),
        (read, of_device(identity, "desired")),
        (read, topic::command(identity)),
    ];
    match identity.role {
        Role::Edge => rules.push((read, topic::every_endpoint(site))),
        Role::Fog => rules.push((write, topic::endpoint(identity))),
        Role::Bridge => rules.push((write, results_of_every_camera(site))),
        Role::Console | Role::Admin => {
            rules.push((read, topic::every_status(site)));
            rules.push((read, topic::every_endpoint(site)));
            rules.push((read, of_every_device(site, "reported")));
            rules.push((read, of_every_device(site, "reply")));
            rules.push((read, results_of_every_camera(site)));
            rules.push((write, of_every_device(site, "command")));
            rules.push((write, of_every_device(site, "desired")));
        }
    }
    rules
}

fn of_device(identity: &Identity, what: &str) -> String {
    format!("celosia/v1/{}/{}/{what}", identity.site, identity.device())
}

fn of_every_device(site: &SiteId, what: &str) -> String {
    format!("celosia/v1/{site}/+/{what}")
}

fn results_of_every_camera(site: &SiteId) -> String {
    format!("celosia/v1/{site}/results/+")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_writes_its_own_topics_and_reads_its_own_orders() {
        let edge: Identity = "celosia://town/edge/gw-1".parse().unwrap();
        let fog: Identity = "celosia://town/fog/fog-1".parse().unwrap();
        let text = access(&[edge, fog]);
        let (_, edge) = text.split_once("user town.edge.gw-1\n").unwrap();
        let (edge, fog) = edge.split_once("\nuser town.fog.fog-1\n").unwrap();
        assert_eq!(
            edge,
            "topic write celosia/v1/town/edge-gw-1/status\n\
             topic write celosia/v1/town/edge-gw-1/reported\n\
             topic write celosia/v1/town/edge-gw-1/reply\n\
             topic read celosia/v1/town/edge-gw-1/desired\n\
             topic read celosia/v1/town/edge-gw-1/command\n\
             topic read celosia/v1/town/+/endpoint\n"
        );
        assert!(fog.contains("topic write celosia/v1/town/fog-fog-1/endpoint\n"), "{fog}");
        assert!(!fog.contains("results") && !fog.contains("edge-gw-1"), "{fog}");
    }

    #[test]
    fn nobody_is_let_in_without_a_certificate_and_nobody_from_outside() {
        let text = configuration(8883);
        for line in ["listener 8883 127.0.0.1", "require_certificate true", "allow_anonymous false"]
        {
            assert!(text.lines().any(|l| l == line), "{line} is not in: {text}");
        }
    }
}
