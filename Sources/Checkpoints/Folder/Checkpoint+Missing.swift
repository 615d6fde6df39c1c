import Encoding
import Foundation

extension Checkpoint {
    /// The files in which other programs keep weights, by the ends of their names.
    private static let foreign: [(ending: String, form: String)] = [
        (".gguf", "llama.cpp's form"), (".bin", "PyTorch's pickle"), (".pt", "PyTorch's pickle"),
        (".pth", "PyTorch's pickle"), (".ckpt", "PyTorch's pickle"), (".h5", "TensorFlow's form"),
        (".msgpack", "Flax's form"), (".npz", "NumPy's form"), (".onnx", "ONNX's form"),
    ]

    /// Whether a folder holds weights in any form, be it one that is not read.
    public static func holdsWeights(directory: String) -> Bool {
        files(directory).contains { file in
            file.hasSuffix(".safetensors") || file.hasSuffix(".safetensors.index.json")
                || foreign.contains { file.hasSuffix($0.ending) }
        }
    }

    private static func files(_ directory: String) -> [String] {
        // A folder that cannot be listed has no file that a message could name.
        ((try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []).sorted()
    }

    /// What is wrong with a folder that has neither `model.safetensors` nor an index.
    static func noWeights(_ directory: String) -> CheckpointError {
        let taken =
            "taken are model.safetensors, or shards that model.safetensors.index.json names"
        let files = files(directory)
        let shards = files.filter { $0.hasSuffix(".safetensors") }
        func fact() -> String {
            if shards.contains("adapter_model.safetensors") {
                return "holds adapter_model.safetensors, an adapter without its base model"
            }
            if let first = shards.first {
                return "holds \(shards.count) .safetensors files (\(first.printable())) and no "
                    + "model.safetensors.index.json, which says which file holds which tensor"
            }
            for (ending, form) in foreign {
                guard let file = files.first(where: { $0.hasSuffix(ending) }) else { continue }
                return "holds \(file.printable()), \(form), which is not read"
            }
            return "holds no weights"
        }
        return .file(directory, fact: fact() + "; " + taken)
    }

    /// What is wrong where a tensor is asked for and not there: the folder may have it under
    /// another name or in another form.
    func missing(_ name: String) -> CheckpointError {
        .tensor(file: directory, name: name.printable(), fact: "is missing" + hint(name))
    }

    private func hint(_ name: String) -> String {
        let base = name.hasSuffix(".weight") ? String(name.dropLast(".weight".count)) : name
        let other = base + ".qweight"
        if tensors[other] != nil {
            return
                "; the folder has \(other.printable()), 4-bit integers of AWQ or GPTQ, which are "
                + "not taken; taken are \(WeightTypes.taken)"
        }
        if let fused = fused(name) {
            return "; the folder has \(fused.printable()), all experts in one tensor; taken is one "
                + "matrix per expert"
        }
        if let other = tensors.keys.filter({ $0.hasSuffix("." + name) }).min() {
            let prefix = other.dropLast(name.count)
            return "; the folder has \(other.printable()): names are taken without the prefix "
                + String(prefix).printable()
        }
        let parts = name.split(separator: ".", maxSplits: 1)
        if parts.count == 2, tensors[String(parts[1])] != nil {
            return "; the folder has \(String(parts[1]).printable()): names are taken with the "
                + "prefix \(parts[0])."
        }
        let first = String(parts[0]) + "."
        if !tensors.isEmpty, !tensors.keys.contains(where: { $0.hasPrefix(first) }) {
            let least = tensors.keys.min() ?? ""
            return "; no name in the folder begins with \(first), the first is \(least.printable())"
        }
        return ""
    }

    /// The tensor of all experts that holds a routed expert's matrix, if the folder has one.
    private func fused(_ name: String) -> String? {
        guard name.hasSuffix(".weight"), let place = name.range(of: ".experts.") else { return nil }
        let prefix = name[..<place.upperBound]
        return ["gate_up_proj", "down_proj"].flatMap { [$0, $0 + ".weight"] }
            .map { prefix + $0 }.first { tensors[$0] != nil }
    }
}
