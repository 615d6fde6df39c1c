import Checkpoints
import Encoding
import Foundation
import Tensors

/// The modules that a conversion to 4 bits takes, and those that it leaves.
struct ConvertedModules {
    private let form: Quantization.Form
    private let directory: String
    private var taken: [String] = []
    private var others: [String] = []
    /// An expert's matrix of each layer, by what stands before the expert's number.
    private var experts: [Substring: (name: String, isTaken: Bool)] = [:]

    /// - Parameter directory: The checkpoint, for messages.
    init(_ form: Quantization.Form, directory: String) {
        (self.form, self.directory) = (form, directory)
    }

    /// Counts a matrix.
    ///
    /// - Throws: `CheckpointError` for an expert that has another format than one of its layer.
    mutating func add(_ name: String, isTaken: Bool) throws {
        guard name.hasSuffix(".weight"), !Architectures.isTableOrGate(name) else { return }
        if isTaken {
            taken.append(NetworkTensor.module(name))
        } else {
            others.append(NetworkTensor.module(name))
        }
        guard Architectures.isExpertProjection(name),
            let layer = name.range(of: ".experts.").map({ name[..<$0.lowerBound] })
        else { return }
        guard let first = experts[layer] else {
            experts[layer] = (name, isTaken)
            return
        }
        guard first.isTaken != isTaken else { return }
        let (inside, outside) = isTaken ? (name, first.name) : (first.name, name)
        throw CheckpointError.tensor(
            file: directory, name: outside.printable(),
            fact: "would stay plain and \(inside.printable()) become \(form.numbers.rawValue); "
                + "the experts of a layer have one format where 4 bits are one of them")
    }

    /// What `config.json` says of them.
    var quantization: Quantization {
        get throws { try Quantization(form, of: taken, besides: others) }
    }
}
