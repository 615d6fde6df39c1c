import Topology

/// Devices of the hosts and the links between them.
extension JobFacts {
    /// Devices that the job names for a host; empty leaves the choice to the transport.
    package func devices(_ host: CheckedHost) -> [String] {
        if let network = job.jobNetwork {
            guard case .success(let own)? = host.survey.map({ network.own(of: $0.addresses) })
            else { return [] }
            return [own.device]
        }
        let own = job.hosts.first { $0.name == host.name }?.environment["APUS_DEVICES"]
        let planes = job.lab.isEmpty ? nil : topology?.planes.map(\.name).joined(separator: ",")
        let list = job.device.isEmpty ? own ?? planes ?? "" : job.device
        return list.split(separator: ",").map(String.init)
    }

    /// Each host has one address in the job's network, and so has a launcher that ranks reach by
    /// it.
    func judgeNetwork() -> Verdict {
        guard let network = job.jobNetwork else { return Verdict(summary: "") }
        let isNamed = !(job.control.isLoopback || job.control.isUnspecified || job.control.isPath)
        let needed = job.hosts.isEmpty || isNamed ? surveyed : everywhere
        var verdict = Verdict(summary: "")
        var own: [String] = []
        // A survey without instruments has no devices at all.
        for (host, survey) in needed where !survey.cards.isEmpty {
            switch network.own(of: survey.addresses) {
            case .success(let address):
                own.append("\(host.name) \(address.address) (\(address.device))")
            case .failure(let fault):
                verdict.findings.append(
                    .fail(host.label, fault.fact(job.network), remedy: fault.remedy))
            }
        }
        verdict.summary = own.joined(separator: ", ")
        return verdict
    }

    func judgeDevices() -> Verdict {
        var verdict = Verdict(
            summary: surveyed.map { host, survey in
                let all = survey.cards.filter { devices(host).isEmpty || named($0, host) }
                return "\(host.name) "
                    + all.map { "\($0.name) MTU \($0.maximumPacketBytes)" }.joined(separator: ", ")
            }.joined(separator: "; "))
        // Names of RDMA devices are judged by their own rule.
        guard job.transport != .rdma, job.transport != .ucx else { return verdict }
        for (host, survey) in surveyed {
            for name in devices(host) where name != "lo" && !survey.cards.isEmpty {
                guard let card = survey.cards.first(where: { $0.name == name }) else {
                    let known = survey.cards.map(\.name).joined(separator: ", ")
                    verdict.findings.append(
                        .fail(
                            host.label, "there is no network device \(name)", value: name,
                            limit: known, remedy: "it has \(known): name one of them by device"))
                    continue
                }
                if !card.isUp {
                    verdict.findings.append(
                        .fail(
                            host.label, "network device \(name) is down or has no carrier",
                            remedy: "ip link set \(name) up, and check its cable"))
                } else if card.addresses.isEmpty {
                    verdict.findings.append(
                        .fail(
                            host.label, "network device \(name) has no IPv4 address",
                            remedy: "ip addr add ADDRESS/PREFIX dev \(name)"))
                }
            }
        }
        return verdict
    }

    private func named(_ card: HostSurvey.Card, _ host: CheckedHost) -> Bool {
        devices(host).contains(card.name)
    }

    func judgeRDMA() -> Verdict {
        let ports = surveyed.flatMap { host, survey in
            survey.rdmaPorts.map { "\(host.name) \($0.name)\($0.isActive ? "" : " (down)")" }
        }
        var verdict = Verdict(
            summary: ports.isEmpty ? "no RDMA device anywhere" : ports.joined(separator: ", "))
        let some = surveyed.filter { $0.survey.rdmaPorts.contains(where: \.isActive) }
        let others = some.map(\.host.name).joined(separator: ", ")
        for (host, survey) in surveyed {
            let active = survey.rdmaPorts.filter(\.isActive)
            let isWanted = job.transport == .rdma
            if isWanted, active.isEmpty {
                let all = survey.rdmaPorts.map(\.name).joined(separator: ", ")
                verdict.findings.append(
                    .fail(
                        host.label,
                        all.isEmpty
                            ? "there is no RDMA device" : "no RDMA port is active: \(all)",
                        remedy: "ibv_devinfo shows what is there; transport: tcp needs none"))
            } else if let bare = active.first(where: { $0.gids.isEmpty }) {
                let fact = "RDMA port \(bare.name) has no GID, by which connections are made"
                verdict.findings.append(
                    isWanted
                        ? .fail(host.label, fact, remedy: "give its network device an address")
                        : .warn(host.label, fact, remedy: "give its network device an address"))
            } else if job.transport == .auto, active.isEmpty, !some.isEmpty {
                verdict.findings.append(
                    .warn(
                        host.label,
                        "no RDMA port is active, and \(others) has one: auto takes TCP",
                        remedy: "bring the port up (ibv_devinfo), or say transport: tcp"))
            }
        }
        return verdict
    }

    func judgeLinks() -> Verdict {
        var verdict = Verdict(
            summary: links.isEmpty
                ? "" : "\(links.count) pairs connect in both directions")
        for link in links {
            if let failure = link.failure {
                let device = link.device.isEmpty ? "" : " over \(link.device)"
                verdict.findings.append(
                    .fail(
                        "\(link.from) -> \(link.to)", "no connection\(device): \(failure)",
                        remedy: "ip route get ADDRESS on \(link.from); firewalls let ranks connect"
                            + " to ports of their choice"))
            }
            for (from, to, isStuck) in [
                (link.from, link.to, link.isForwardStuck),
                (link.to, link.from, link.isBackwardStuck),
            ] where isStuck {
                let name = card(of: link)?.name ?? link.device
                verdict.findings.append(
                    .fail(
                        "\(from) -> \(to)",
                        "packets of full size are lost, and short ones arrive (the network carries"
                            + " less than the MTU of \(name.isEmpty ? "the devices" : name))",
                        remedy: "ip link set \(name.isEmpty ? "DEVICE" : name) mtu 1500 on every"
                            + " host, or sysctl net.ipv4.tcp_mtu_probing=1"))
            }
        }
        return verdict
    }

    /// The device of the measuring host on a link.
    private func card(of link: LinkMeasurement) -> HostSurvey.Card? { card(link.from, link) }

    /// The device of an end of a link.
    private func card(_ name: String, _ link: LinkMeasurement) -> HostSurvey.Card? {
        let address = name == link.from ? link.localAddress : link.address
        return surveyed.first { $0.host.name == name }?.survey.cards
            .first { $0.addresses.contains(address) }
    }

    func judgePackets() -> Verdict {
        let sizes = Set(
            links.flatMap { [$0.forwardPacketBytes, $0.backwardPacketBytes] }.compactMap { $0 })
        var verdict = Verdict(
            summary: sizes.isEmpty
                ? links.isEmpty ? "" : "no datagram passed, so the size of packets is not known"
                : "packets of \(sizes.sorted().map { "\($0)" }.joined(separator: ", ")) bytes pass")
        for link in links {
            for (from, to, size) in [
                (link.from, link.to, link.forwardPacketBytes),
                (link.to, link.from, link.backwardPacketBytes),
            ] {
                guard let size, let card = card(from, link),
                    size < min(card.maximumPacketBytes, 65535)
                else { continue }
                verdict.findings.append(
                    .warn(
                        "\(from) -> \(to)",
                        "packets of \(card.maximumPacketBytes) bytes, the MTU of \(card.name), do"
                            + " not pass; \(size) bytes do",
                        value: size, limit: card.maximumPacketBytes,
                        remedy: "give every device and switch of the network one MTU: ip link set"
                            + " \(card.name) mtu \(size)"))
            }
        }
        return verdict
    }
}

extension HostSurvey {
    /// Addresses of the network devices.
    var addresses: [JobNetwork.Address] {
        cards.flatMap { card in card.addresses.map { (card.name, $0) } }
    }
}
