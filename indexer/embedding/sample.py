"""Texts on which an export is held against sentence-transformers: what papers and their readers write, short and long.

A change of them is a change of what the check means: raise `EXPORT_VERSION` with it.
"""

QUERIES = (
    "how do AGEs affect bone quality?",
    "estrogen",
    "limits of detection by RT-PCR in saliva vs. nasopharyngeal swabs",
    "Does metformin lower fracture risk in women over 65 with type 2 diabetes and osteopenia?",
)

PASSAGES = (
    "Advanced glycation end products accumulate in bone collagen and stiffen it.",
    "The reaction was quenched with saturated NH4Cl, extracted three times with ethyl acetate, dried over MgSO4 and "
    "concentrated in vacuo to give 3b as a pale yellow oil (412 mg, 78 %).",
    "Patients were randomised 1:1 to receive 10 mg once daily or placebo for 52 weeks; randomisation was stratified "
    "by centre, sex and baseline eGFR.",
    "Age (years) 64.2 ± 9.1 63.8 ± 8.7 0.71",
    "Group | n | BMD L1-L4 (g/cm2) | T-score | P value. Control | 41 | 1.02 ± 0.11 | -0.6 | . Diabetic | 38 | 0.94 ± "
    "0.13 | -1.4 | 0.003",
    "12.5 37.0 0.05 1,024 95 % CI 1.12-1.87 p < 0.001",
    "TNF-α and IL-1β activate NF-κB through IκB kinase β, while TGF-β1 signals through Smad2/3; γδ T cells were fewer.",
    "Let μ and σ² denote the mean and variance of the posterior; we set λ = 0.1 and Δt = 10⁻³ s throughout.",
    "Figure 3. Kaplan-Meier curves of overall survival, by quartile of serum 25(OH)D. Shaded bands are 95 % "
    "confidence intervals.",
    "In contrast to earlier reports, we found no evidence that the treatment shortened hospital stays.",
    "None.",
    "Materials and Methods",
    "Sequences were aligned with MAFFT v7.475 and trees inferred with IQ-TREE 2 under GTR+F+R4 with 1,000 ultrafast "
    "bootstraps; reads are at https://www.ncbi.nlm.nih.gov/sra under PRJNA612345.",
    "We propose a transformer that attends over sets of retrieved sentences, and train it end to end with a "
    "contrastive loss on 2.1 M question-answer pairs.",
    "Ocean warming moves the isotherms polewards faster than many intertidal species can follow; limpets at the "
    "trailing edge of their range lost tenacity above 24 °C.",
    "Die Knochendichte nahm in beiden Gruppen ab. La densité osseuse a diminué dans les deux groupes.",
    "骨密度在两组中均下降。",
    "Two of the authors coded the interviews independently and resolved what they disagreed on by discussion (Cohen's "
    "κ = 0.81). Themes were taken back to the participants, of whom eleven replied.",
    "The Hamiltonian is diagonalised in the basis of the lowest 200 Bloch states. The gap closes at a critical strain "
    "of 3.4 %, where the Chern number changes from 0 to 1, and reopens beyond it.",
    "Osteocytes, which make up more than nine tenths of all bone cells, sense strain through the flow of fluid in "
    "their canaliculi and answer with sclerostin, prostaglandins and nitric oxide. In diabetes this answer is "
    "blunted. Mice that were fed a high-fat diet for sixteen weeks had lacunae of the usual number but of smaller "
    "volume, their dendrites were fewer and shorter, and the rise of c-Fos after loading at 9 N was halved. Whether "
    "that is cause or consequence of the higher content of pentosidine (0.42 against 0.19 mmol per mol of collagen, "
    "p = 0.004) cannot be told from these data. We therefore cultured MLO-Y4 cells on collagen that had been "
    "incubated with ribose for four weeks, and on collagen cross-linked by genipin to the same stiffness. Only the "
    "former lowered the expression of connexin 43 and raised that of RANKL, which points to the receptor for advanced "
    "glycation end products (RAGE) and not to stiffness. A RAGE antagonist restored both.",
)
