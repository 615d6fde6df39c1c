import Collectives
import Topology

/// Predicts exchanges in labs of this machine from their topology files and one measured anchor.
///
/// While rows travel, ranks encode and add others, so a half takes the longer of two: what the
/// busiest NIC needs for its bytes, and what the ranks' work needs on the cores that they share.
/// The anchor gives that work: seconds of a core for each row that is encoded or added, and for
/// each byte that goes through sockets. Nothing is fitted to what is predicted.
package struct ExchangePrediction: Sendable {
    /// One dispatch, or one combine.
    package struct Half: Codable, Hashable, Sendable {
        /// What the busiest NIC needs, and what the cores need.
        package let wireSeconds: Double, coreSeconds: Double

        package var seconds: Double { max(wireSeconds, coreSeconds) }
        /// Which of the two the half waits for.
        package var bound: String { wireSeconds >= coreSeconds ? "NIC" : "cores" }
    }

    /// Seconds of one core: for a row, and for a byte that crosses.
    struct Work: Codable, Hashable, Sendable {
        let perRow: Double, perByte: Double
    }

    private let options: AllToAllOptions
    private let cores: Int
    let dispatch: Work
    let combine: Work

    /// - Parameters:
    ///   - options: Tokens, widths and formats of all settings.
    ///   - cores: That the ranks of a lab share.
    package init(
        _ options: AllToAllOptions, cores: Int, memory: MeasuredExchange, sockets: MeasuredExchange
    ) throws {
        self.options = options
        self.cores = cores
        let near = try Self.traffic(of: .memoryAnchor, options)
        let far = try Self.traffic(of: .socketAnchor, options)
        func work(_ half: ExchangeRecord.Kind) -> Work {
            func coreSeconds(_ setting: PredictionSetting, _ exchange: MeasuredExchange) -> Double {
                exchange.seconds(half) * Double(min(cores, setting.ranks))
            }
            let perRow = coreSeconds(.memoryAnchor, memory) / Double(max(1, near.rows(half)))
            let bytes = far.crossing(half) * options.using(.socketAnchor).crossingBytes(half)
            let beyond =
                coreSeconds(.socketAnchor, sockets) - perRow * Double(far.rows(half))
            return Work(perRow: perRow, perByte: max(0, beyond) / Double(max(1, bytes)))
        }
        (dispatch, combine) = (work(.dispatch), work(.combine))
    }

    /// The draw that is counted: none that is measured, because rounds count from 0.
    private static let round = 1 << 20

    private static func traffic(
        of setting: PredictionSetting, _ options: AllToAllOptions
    ) throws -> PredictedTraffic {
        try PredictedTraffic(options.using(setting), on: setting.map(), round: round)
    }

    /// Both halves of a setting's exchange.
    package func halves(
        of setting: PredictionSetting
    ) throws -> (dispatch: Half, combine: Half) {
        let traffic = try Self.traffic(of: setting, options)
        let map = try setting.map()
        func half(_ kind: ExchangeRecord.Kind) -> Half {
            let work = kind == .dispatch ? dispatch : combine
            let rowBytes = Double(options.using(setting).crossingBytes(kind))
            let crossing = Double(traffic.crossing(kind)) * rowBytes
            let total = work.perRow * Double(traffic.rows(kind)) + work.perByte * crossing
            let rate = map.planes.compactMap(\.payloadBytesPerSecond).reduce(0, +)
            let busiest = Double(traffic.busiest(kind)) * rowBytes
            return Half(
                wireSeconds: rate > 0 ? busiest / rate : 0,
                coreSeconds: total / Double(min(cores, setting.ranks)))
        }
        return (half(.dispatch), half(.combine))
    }
}

extension PredictedTraffic {
    /// Rows that ranks work on: tokens that are encoded, or outputs that are added.
    fileprivate func rows(_ half: ExchangeRecord.Kind) -> Int {
        half == .dispatch ? tokens : outputs
    }
}

extension NodeMap.Plane {
    /// What a NIC carries of a TCP stream's bytes; nil without a rate.
    ///
    /// Of each packet 20 bytes are IP's and 32 TCP's with time stamps, and Ethernet adds 14, which
    /// tbf counts too.
    fileprivate var payloadBytesPerSecond: Double? {
        bandwidthBitsPerSecond.map {
            $0 / 8 * (efficiency ?? 1) * Double(maximumPacketBytes - 52)
                / Double(maximumPacketBytes + 14)
        }
    }
}

extension AllToAllOptions {
    /// With a setting's choices.
    package func using(_ setting: PredictionSetting) -> AllToAllOptions {
        var options = self
        options.topK = setting.topK
        options.pattern = Pattern(setting.routing) ?? options.pattern
        return options
    }
}
