import ArgumentParser
import Foundation
import Models
import Topology

/// Prints what a checkpoint is, what it weighs, and what each of N ranks would hold.
struct InspectCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "inspect",
        abstract: "Prints a checkpoint's architecture, parameters, bytes and shares per rank.",
        discussion: """
            Needs a folder with config.json; where the shards are there too, bytes are read from \
            their headers.

            Examples:
              apus inspect DeepSeek-V3
              apus inspect DeepSeek-V3 --ranks 64 --json
            """)

    @Argument(help: "A checkpoint folder.")
    var directory: String

    @Option(help: "How many ranks share the routed experts.")
    var ranks = 1

    @Flag(help: "Print one JSON object.")
    var json = false

    func run() throws {
        try reporting {
            let model = try ModelConfiguration.load(directory: directory)
            let summary = try ModelSummary(directory: directory, configuration: model)
            let map = try model.expertMap(rankCount: ranks)
            let experts = map.placements[0].expertsByRank.map(\.count)
            let report = Report(
                architecture: model.architectures[0], model: model, summary: summary,
                experts: experts)
            json ? try printJSON(report) : report.printText()
        }
    }

    private func printJSON(_ report: Report) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        print(String(decoding: try encoder.encode(report), as: UTF8.self))
    }
}

/// The figures of `inspect`.
private struct Report: Encodable {
    struct Share: Encodable {
        let rank: Int
        let experts: Int
        let bytes: Int
    }

    let architecture: String
    let layers: Int
    let denseLayers: Int
    let mtpLayers: Int
    let hidden: Int
    let heads: Int
    let experts: Int
    let expertsPerToken: Int
    let sharedExperts: Int
    let groups: Int
    let keptGroups: Int
    let vocabulary: Int
    let positions: Int
    let parametersTotal: Int
    let parametersActivated: Int
    let parametersMTP: Int
    let bytesTotal: Int
    let bytesByType: [String: Int]
    let bytesMeasured: Bool
    let cacheBytesPerToken: Int
    let ranks: [Share]

    init(architecture: String, model: ModelConfiguration, summary: ModelSummary, experts: [Int]) {
        self.architecture = architecture
        layers = model.layerCount
        denseLayers = model.layerCount - model.expertLayerCount
        mtpLayers = model.mtpLayerCount
        hidden = model.hiddenSize
        heads = model.headCount
        self.experts = model.routedExpertCount
        expertsPerToken = model.activeExpertCount
        sharedExperts = model.sharedExpertCount
        groups = model.groupCount
        keptGroups = model.keptGroupCount
        vocabulary = model.vocabularySize
        positions = model.positionLimit
        parametersTotal = summary.totalParameters
        parametersActivated = summary.activatedParameters
        parametersMTP = summary.mtpParameters
        bytesTotal = summary.totalBytes
        bytesByType = summary.bytesByType
        bytesMeasured = summary.isMeasured
        cacheBytesPerToken = summary.cacheBytesPerToken
        ranks = experts.enumerated().map { rank, count in
            Share(rank: rank, experts: count, bytes: summary.rankBytes(expertCount: count))
        }
    }

    func printText() {
        let types = bytesByType.sorted { $0.value > $1.value }
            .map { "\($0.key) \(gigabytes($0.value))" }.joined(separator: ", ")
        print(
            """
            architecture  \(architecture)
            layers        \(layers) (\(denseLayers) dense) + \(mtpLayers) MTP, hidden \(hidden), \
            \(heads) heads
            experts       \(experts) routed, top-\(expertsPerToken), \(groups) groups keep \
            \(keptGroups), \(sharedExperts) shared
            vocabulary    \(vocabulary), \(positions) positions
            parameters    \(billions(parametersTotal)) total, \(billions(parametersActivated)) \
            activated per token, MTP \(billions(parametersMTP))
            weights       \(gigabytes(bytesTotal)): \(types)\
            \(bytesMeasured ? "" : " (from config.json)")
            latent cache  \(cacheBytesPerToken) bytes per token (bf16)
            """)
        for share in ranks {
            print(
                "rank \(share.rank)".padding(toLength: 14, withPad: " ", startingAt: 0)
                    + "\(share.experts) experts per layer, \(gigabytes(share.bytes))")
        }
    }

    private func billions(_ count: Int) -> String {
        count >= 1_000_000_000
            ? String(format: "%.2fB", Double(count) / 1e9)
            : String(format: "%.2fM", Double(count) / 1e6)
    }

    private func gigabytes(_ bytes: Int) -> String {
        bytes >= 1_000_000_000
            ? String(format: "%.2f GB", Double(bytes) / 1e9)
            : String(format: "%.2f MB", Double(bytes) / 1e6)
    }
}
