import Checkpoints
import Encoding
import Foundation
import Tensors

extension ModelConfiguration {
    /// The largest `config.json` that is read; published ones have 2 kB.
    static let byteLimit = 1_000_000

    /// Reads and checks the `config.json` of a checkpoint folder.
    ///
    /// The tokens that end a text are those of `generation_config.json` too: some models name one
    /// of them there only, and would never stop without it.
    ///
    /// - Throws: `ModelError` naming the key, its value and the limit.
    public static func load(directory: String) throws -> ModelConfiguration {
        let path = directory + "/config.json"
        guard let text = try read(path) else { throw noConfiguration(directory) }
        var configuration = try parse(text, file: path)
        try checkQuantization(directory: directory)
        try configuration.addEndTokens(of: directory + "/generation_config.json")
        return configuration
    }

    /// Checks what stands beside `config.json` about quantised weights.
    static func checkQuantization(directory: String) throws {
        let path = directory + "/hf_quant_config.json"
        guard let text = try read(path) else { return }
        let root = try ConfigurationText(text, file: path).root
        do { try QuantizationKeys.checkModelOptimizer(root) } catch let error as Refusal {
            throw ModelError.configuration(file: path, key: error.key, fact: error.fact)
        }
    }

    /// The bytes of a small file, nil where there is none.
    private static func read(_ path: String) throws -> Data? {
        guard FileManager.default.fileExists(atPath: path) else { return nil }
        let file: MappedFile
        do { file = try MappedFile(path: path) } catch {
            throw CheckpointError.file(path, fact: "\(error.call): \(error.reason)")
        }
        guard file.byteCount <= byteLimit else {
            throw CheckpointError.file(
                path, fact: "\(file.byteCount) bytes; the limit is \(byteLimit)")
        }
        return Data(file.copyBytes(0 ..< file.byteCount))
    }

    /// What is wrong with a folder that has no `config.json`.
    private static func noConfiguration(_ directory: String) -> CheckpointError {
        let taken =
            "taken is a folder in Hugging Face's layout: config.json, tokenizer.json, *.safetensors"
        let others = [
            "params.json": "the layout of Mistral's and Meta's own releases",
            "adapter_config.json": "an adapter without its base model",
        ]
        guard let files = try? FileManager.default.contentsOfDirectory(atPath: directory) else {
            return .file(directory, fact: "is not a folder that can be read; \(taken)")
        }
        for file in files.sorted() {
            if let form = others[file] {
                return .file(
                    directory, fact: "holds \(file), \(form), and no config.json; \(taken)")
            }
            if file.hasSuffix(".gguf") {
                return .file(
                    directory,
                    fact:
                        "holds \(file.printable()), llama.cpp's form, and no config.json; \(taken)")
            }
        }
        return .file(directory, fact: "holds no config.json; \(taken)")
    }

    private mutating func addEndTokens(of path: String) throws {
        guard let data = try Self.read(path) else { return }
        let value: JSONValue?
        do { value = try JSONValue.parse([UInt8](data))["eos_token_id"] } catch {
            throw CheckpointError.file(path, fact: "\(error)")
        }
        guard let value, !value.isNull else { return }
        for entry in value.array ?? [value] {
            guard let token = entry.integer, 0 ..< vocabularySize ~= token else {
                throw ModelError.configuration(
                    file: path, key: "eos_token_id",
                    fact: "\(entry.text.printable()) is no token id: they go from 0 to "
                        + "\(vocabularySize - 1) (vocab_size)")
            }
            if !endTokens.contains(token) { endTokens.append(token) }
        }
    }
}
