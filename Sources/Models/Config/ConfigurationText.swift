import Encoding
import Foundation

/// What the text of a `config.json` says, for messages: Foundation's decoder knows neither the key
/// of a number that does not fit nor the value that has the wrong type.
struct ConfigurationText {
    let root: JSONValue

    /// Reads the whole text.
    ///
    /// - Throws: `ModelError` with the byte at which it ceases to be JSON.
    init(_ json: Data, file: String) throws(ModelError) {
        do {
            var reader = JSONReader(Array(json))
            root = try reader.value()
            try reader.end()
        } catch { throw .configuration(file: file, key: "the text", fact: "\(error)") }
    }

    /// The value at the end of a path of keys, as JSON and cut to one short line.
    func value(at path: [any CodingKey]) -> String? {
        var value = root
        for key in path {
            if let index = key.intValue, let elements = value.array {
                guard elements.indices.contains(index) else { return nil }
                value = elements[index]
            } else {
                guard let member = value[key.stringValue] else { return nil }
                value = member
            }
        }
        return value.encoded().printable(limit: 40)
    }

    /// Throws for a number that its key cannot hold: a fraction for a count, or one beyond 64 bits.
    func checkNumbers(file: String) throws(ModelError) {
        try check(root, key: "", isCount: false, file)
    }

    private func check(
        _ value: JSONValue, key: String, isCount: Bool, _ file: String
    ) throws(ModelError) {
        switch value {
        case .number(let literal):
            guard let number = Double(literal), number.isFinite else {
                throw .configuration(
                    file: file, key: key.printable(),
                    fact: "\(literal.printable()) is beyond a number of 64 bits")
            }
            if isCount && Int(literal) == nil && Int(exactly: number) == nil {
                throw .configuration(
                    file: file, key: key.printable(),
                    fact: "\(literal.printable()) is not a whole number of 64 bits")
            }
        case .array(let elements):
            for element in elements { try check(element, key: key, isCount: isCount, file) }
        case .object(let members):
            for (name, member) in members {
                try check(
                    member, key: key.isEmpty ? name : key + "." + name,
                    isCount: Self.counts.contains(name), file)
            }
        default: break
        }
    }

    /// The published keys whose values are counts, sizes or ids.
    private static let counts: Set<String> = Set(
        [
            ModelConfiguration.CodingKeys.hiddenSize, .intermediateSize, .expertIntermediateSize,
            .layerCount, .denseLayerCount, .expertLayerStride, .headCount, .keyValueHeadCount,
            .queryLatentSize, .queryHeadSize, .latentSize, .ropeHeadSize, .nopeHeadSize,
            .valueHeadSize,
            .routedExpertCount, .newerRoutedExpertCount, .sharedExpertCount, .activeExpertCount,
            .groupCount,
            .keptGroupCount, .vocabularySize, .positionLimit, .mtpLayerCount, .newerMTPLayerCount,
            .sparseIndexCount, .indexHeadCount, .indexHeadSize, .indexerStride, .indexerOffset,
            .beginToken,
            .endTokens,
        ].map(\.rawValue)
            + [
                GroupedKey.headSize, .rotatedCount, .expertCount, .expertStep, .denseLayers,
                .window,
            ].map(\.rawValue)
            + [
                YaRN.CodingKeys.originalPositionLimit.rawValue,
                Quantization.CodingKeys.blockSize.rawValue,
            ])
}
