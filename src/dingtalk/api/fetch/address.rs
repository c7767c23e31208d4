//! Which IP addresses media may be fetched from: those of the public internet. It resolves nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Blocks of IPv4 that are not the public internet: address and prefix length.
const NOT_PUBLIC_V4: [([u8; 4], u32); 16] = [
    // "This" network and the unspecified address.
    ([0, 0, 0, 0], 8),
    // Private networks.
    ([10, 0, 0, 0], 8),
    ([172, 16, 0, 0], 12),
    ([192, 168, 0, 0], 16),
    // Carrier-grade NAT, which clouds use for their own services.
    ([100, 64, 0, 0], 10),
    ([127, 0, 0, 0], 8),
    // Link-local, with the metadata services of clouds.
    ([169, 254, 0, 0], 16),
    // Protocol assignments, 6to4 relays, benchmarks.
    ([192, 0, 0, 0], 24),
    ([192, 88, 99, 0], 24),
    ([198, 18, 0, 0], 15),
    // Documentation.
    ([192, 0, 2, 0], 24),
    ([198, 51, 100, 0], 24),
    ([203, 0, 113, 0], 24),
    // Multicast, reserved, broadcast.
    ([224, 0, 0, 0], 4),
    ([240, 0, 0, 0], 4),
    ([255, 255, 255, 255], 32),
];

/// Blocks inside the global unicast of IPv6 that are not the public internet.
const NOT_PUBLIC_V6: [([u16; 2], u32); 4] = [
    // Protocol assignments: Teredo, ORCHID, benchmarks.
    ([0x2001, 0], 23),
    // Documentation.
    ([0x2001, 0xdb8], 32),
    ([0x3fff, 0], 20),
    // 6to4 leads to an IPv4 address through whoever relays it.
    ([0x2002, 0], 16),
];

/// Whether `address` is on the public internet: not loopback, link-local, private, shared, reserved,
/// for documentation or multicast, nor such an address in the clothes of IPv6.
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let bits = address.to_bits();
    let inside = |(block, length): ([u8; 4], u32)| {
        let block = Ipv4Addr::from(block).to_bits();
        (bits ^ block) >> (32 - length) == 0
    };
    !NOT_PUBLIC_V4.into_iter().any(inside)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    // Networks without IPv4 reach it through NAT64: what counts is the address behind.
    if let [0x64, 0xff9b, 0, 0, 0, 0, high, low] = address.segments() {
        let bits = (u32::from(high) << 16) | u32::from(low);
        return is_public_v4(Ipv4Addr::from_bits(bits));
    }
    let bits = address.to_bits();
    let inside = |(block, length): ([u16; 2], u32)| {
        let [first, second] = block;
        let block = Ipv6Addr::new(first, second, 0, 0, 0, 0, 0, 0).to_bits();
        (bits ^ block) >> (128 - length) == 0
    };
    // Everything outside 2000::/3 is local, mapped, multicast or not assigned.
    inside(([0x2000, 0], 3)) && !NOT_PUBLIC_V6.into_iter().any(inside)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn public(address: &str) -> bool {
        is_public(address.parse().unwrap())
    }

    #[test]
    fn addresses_of_the_own_network_are_not_public() {
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "10.255.255.255",
            "100.64.0.1",
            "100.100.100.200",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "::ffff:0:7f00:1",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::808:808",
            "100::1",
            "2001::1",
            "2001:10::1",
            "2001:20::1",
            "2001:db8::1",
            "2002:7f00:1::1",
            "2002:808:808::1",
            "3fff::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "ff02::1",
            "5f00::1",
            "4000::1",
        ] {
            assert!(!public(address), "{address}");
        }
    }

    #[test]
    fn addresses_of_the_internet_are_public() {
        for address in [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "47.95.1.1",
            "100.63.255.255",
            "100.128.0.0",
            "106.11.1.1",
            "172.15.255.255",
            "172.32.0.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2400:3200::1",
            "2606:4700::1111",
            "64:ff9b::808:808",
        ] {
            assert!(public(address), "{address}");
        }
    }

    proptest! {
        /// The blocks agree with what the standard library knows of them.
        #[test]
        fn nothing_that_the_standard_library_calls_local_is_public(bits: u32, wide: u128) {
            let v4 = Ipv4Addr::from_bits(bits);
            let local = v4.is_loopback()
                || v4.is_private()
                || v4.is_link_local()
                || v4.is_multicast()
                || v4.is_broadcast()
                || v4.is_documentation()
                || v4.is_unspecified();
            prop_assert!(!(local && is_public(v4.into())));
            let v6 = Ipv6Addr::from_bits(wide);
            let local = v6.is_loopback()
                || v6.is_unspecified()
                || v6.is_multicast()
                || v6.is_unique_local()
                || v6.is_unicast_link_local()
                || v6.to_ipv4_mapped().is_some();
            prop_assert!(!(local && is_public(v6.into())));
        }

        /// No IPv4 address gets further in the clothes of IPv6.
        #[test]
        fn an_address_in_the_clothes_of_another_is_no_more_public(bits: u32) {
            let v4 = Ipv4Addr::from_bits(bits);
            let [high, low] = [(bits >> 16) as u16, bits as u16];
            let mapped = v4.to_ipv6_mapped();
            let nat64 = Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low);
            let six_to_four = Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1);
            prop_assert!(!is_public(mapped.into()));
            prop_assert!(!is_public(six_to_four.into()));
            prop_assert_eq!(is_public(nat64.into()), is_public(v4.into()));
        }
    }
}
