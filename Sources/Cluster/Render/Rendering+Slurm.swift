extension Rendering {
    /// A script for `sbatch`; the number of nodes is the user's or Slurm's to say.
    func slurm() throws(ClusterError) -> String {
        try requireTokenFile(.slurm)
        guard job.hosts.isEmpty else {
            throw .badInput("\(file): hosts: Slurm chooses the nodes; take the key out")
        }
        let worker = Self.shellWord(program("apus-worker"))
        // The others go on without a lost rank, and end by themselves where the job does not.
        let endsWithOne = "--kill-on-bad-exit=\(job.survivesLosses ? 0 : 1)"
        return """
            #!/bin/bash
            # \(job.name): \(job.ranks) ranks. Submit it in the folder where you rendered it.
            #SBATCH --job-name=\(job.name)
            #SBATCH --ntasks=\(job.ranks)
            #SBATCH --cpus-per-task=\(job.threads)
            #SBATCH --output=\(job.name)-%j.log
            # At the end of its time the job answers what is under way.
            #SBATCH --signal=TERM@\(Int(job.deadlines.drainSeconds.rounded(.up)) + 10)

            # Every task reads its rank from Slurm; rank 0 starts the coordinator on its node.
            exec srun --cpus-per-task="$SLURM_CPUS_PER_TASK" \(endsWithOne) \\
                \(worker) \(Self.shellWord(file))

            """
    }
}
