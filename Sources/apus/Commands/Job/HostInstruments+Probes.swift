import Cluster
import Synchronization
import Tensors
import Transport

extension HostInstruments {
    /// What `apus` brings: kernels, network devices, RDMA devices and probes of links.
    static var ofThisProgram: HostInstruments {
        let listeners = ProbeListeners()
        return HostInstruments(
            processorLevel: { Processor.inUse.rawValue },
            addresses: { NetworkAddress.all().map { ($0.device, $0.address) } },
            rdmaPorts: {
                VerbsDevices.ports().map {
                    HostSurvey.RDMAPort(
                        name: "\($0.device):\($0.port)", isActive: $0.isActive,
                        maximumPacketBytes: $0.maximumPacketBytes, gids: $0.gids)
                }
            }, listen: { try listeners.listen($0) }, measure: { measured($0) })
    }

    private static func measured(_ order: ProbeOrder) -> LinkMeasurement {
        var link = LinkMeasurement()
        do throws(TransportError) {
            let probe = try LinkProbe(
                port: order.port, token: order.token, localAddress: order.localAddress)
            let found = try probe.measure(order.addresses, packetSizes: order.packetSizes)
            link.address = found.address
            link.localAddress = found.localAddress
            link.roundTripSeconds = found.roundTripSeconds
            (link.forwardRate, link.backwardRate) = (found.forwardRate, found.backwardRate)
            (link.isForwardStuck, link.isBackwardStuck) = (
                found.isForwardStuck, found.isBackwardStuck
            )
            link.forwardPacketBytes = found.forwardPacketBytes
            link.backwardPacketBytes = found.backwardPacketBytes
        } catch {
            link.failure = "\(error)"
        }
        return link
    }
}

/// Keeps listeners open as long as the supervisor lives.
private final class ProbeListeners: Sendable {
    private let open = Mutex<[LinkProbeListener]>([])

    func listen(_ token: String) throws -> Int {
        let listener = try LinkProbeListener(token: token)
        open.withLock { $0.append(listener) }
        return listener.port
    }
}
