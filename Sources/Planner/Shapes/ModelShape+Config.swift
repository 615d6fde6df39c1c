import Encoding
import Foundation

extension ModelShape {
    /// A published model by its name, or the `config.json` of a folder.
    ///
    /// - Throws: `PlanError.model` naming the key, its value and the limit.
    package init(named name: String) throws(PlanError) {
        if let shape = Self.published.first(where: { $0.name == name.lowercased() }) {
            self = shape
            return
        }
        let file = name.hasSuffix(".json") ? name : name + "/config.json"
        let data = try WholeFile.read(file, limit: Self.largestFileBytes) {
            let known = Self.published.map(\.name).joined(separator: ", ")
            return PlanError.model(
                file: file, key: "the file", fact: "\($0); models known by name: \(known)")
        }
        let keys: ConfigurationKeys
        do {
            keys = try JSONDecoder().decode(ConfigurationFile.self, from: data).keys
        } catch {
            throw .model(file: file, key: "the text", fact: Self.words(for: error))
        }
        let folder = URL(filePath: file).deletingLastPathComponent().lastPathComponent
        self = try keys.shape(name: folder, file: file)
    }

    private static let largestFileBytes = 1_000_000

    private static func words(for error: any Error) -> String {
        switch error as? DecodingError {
        case .keyNotFound(let key, _): "\(key.stringValue) is missing"
        case .typeMismatch(let type, let context), .valueNotFound(let type, let context):
            "\(context.codingPath.map(\.stringValue).joined(separator: ".")) is not of type \(type)"
        default: "is not a JSON object"
        }
    }
}

/// A `config.json`, where null shared experts are none and not what the family takes.
///
/// The keys of a network beside a vision tower stand in `text_config`; its class is named outside.
private struct ConfigurationFile: Decodable {
    private enum Key: String, CodingKey {
        case architectures
        case sharedExperts = "n_shared_experts"
        case text = "text_config"
    }

    var keys: ConfigurationKeys

    init(from decoder: any Decoder) throws {
        let whole = try decoder.container(keyedBy: Key.self)
        let hasText = try whole.contains(.text) && !whole.decodeNil(forKey: .text)
        let network = hasText ? try whole.superDecoder(forKey: .text) : decoder
        keys = try ConfigurationKeys(from: network)
        if hasText {
            keys.architectures = try whole.decodeIfPresent([String].self, forKey: .architectures)
        }
        let box = try network.container(keyedBy: Key.self)
        if box.contains(.sharedExperts) { keys.n_shared_experts = keys.n_shared_experts ?? 0 }
    }
}
