import ArgumentParser
import Checkpoints
import Foundation
import Models
import Serving
import Topology

/// Prints what a checkpoint is, what it weighs, and what each of N ranks would hold.
struct InspectCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "inspect",
        abstract: "Checks a checkpoint, and prints its shape, its bytes and the shares of ranks.",
        discussion: """
            Makes every check of loading: keys, names, types, shapes and scales of all tensors, \
            and the tokenizer. A folder that cannot be run is an error; what is not used of one \
            that can is named. A folder with config.json and no weights is summarised from its keys.

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
            let (model, notes) = try checked()
            let summary = try ModelSummary(directory: directory, configuration: model)
            let map = try model.expertMap(rankCount: ranks)
            let experts = map.placements[0].expertsByRank.map(\.count)
            let report = Report(
                architecture: model.architectures[0], model: model, summary: summary,
                experts: experts, notes: notes)
            json ? try printJSON(report) : report.printText()
        }
    }

    /// The shape that is run and what is said of the folder, once every check was passed.
    private func checked() throws -> (ModelConfiguration, notes: [String]) {
        let announced = try ModelConfiguration.load(directory: directory)
        guard Checkpoint.holdsWeights(directory: directory) else {
            return (announced, ["the folder holds no weights: the figures follow from config.json"])
        }
        let folder = try ModelFolder(directory: directory)
        var notes = folder.notes
        if folder.checkpoint.isWhole {
            try folder.check()
        } else {
            notes.append("the folder holds the part of its weights that ranks of a job received")
        }
        if FileManager.default.fileExists(atPath: directory + "/tokenizer.json") {
            _ = try ModelText(directory: directory)
        } else {
            notes.append("no tokenizer.json: the model runs on token ids alone")
        }
        return (folder.configuration, notes)
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
    let contextTokens: Int
    let notes: [String]

    init(
        architecture: String, model: ModelConfiguration, summary: ModelSummary, experts: [Int],
        notes: [String]
    ) {
        self.notes = notes
        contextTokens = model.contextLimit
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
            vocabulary    \(vocabulary), \(positions) positions\
            \(contextTokens < positions ? ", \(contextTokens) tokens of context" : "")
            parameters    \(billions(parametersTotal)) total, \(billions(parametersActivated)) \
            activated per token, MTP \(billions(parametersMTP))
            weights       \(gigabytes(bytesTotal)): \(types)\
            \(bytesMeasured ? "" : " (from config.json)")
            cache         \(cacheBytesPerToken) bytes per token (bf16)
            """)
        for share in ranks {
            print(
                "rank \(share.rank)".padding(toLength: 14, withPad: " ", startingAt: 0)
                    + "\(share.experts) experts per layer, \(gigabytes(share.bytes))")
        }
        for note in notes { print("note          \(note)") }
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
