"""The terms of the glossary: Japanese, then the English words that a paper would use, the usual one first.

Written for matlit; one term a line.
"""

TERMS = """
正極|cathode|positive electrode
負極|anode|negative electrode
陰極|cathode
陽極|anode
正極材料|cathode material
負極材料|anode material
電極|electrode
電池|battery|cell
二次電池|secondary battery|rechargeable battery
蓄電池|battery
全固体電池|all-solid-state battery
リチウムイオン電池|lithium-ion battery|Li-ion
ナトリウムイオン電池|sodium-ion battery|Na-ion
リチウム電池|lithium battery|lithium cell
ナトリウム電池|sodium battery|sodium cell
空気電池|air battery|air cell
燃料電池|fuel cell
太陽電池|solar cell|photovoltaic
レドックスフロー電池|redox flow battery
セル|cell
電解質|electrolyte
電解液|electrolyte
固体電解質|solid electrolyte
硫化物|sulfide|sulphide
酸化物|oxide
窒化物|nitride
炭化物|carbide
水酸化物|hydroxide
塩化物|chloride
フッ化物|fluoride
臭化物|bromide
ヨウ化物|iodide
リン酸塩|phosphate
リン酸鉄リチウム|lithium iron phosphate|LiFePO4
硫酸塩|sulfate|sulphate
炭酸塩|carbonate
硝酸塩|nitrate
ハロゲン化物|halide
カルコゲナイド|chalcogenide
ペロブスカイト|perovskite
スピネル|spinel
ガーネット|garnet
オリビン|olivine
ルチル|rutile
アナターゼ|anatase
グラファイト|graphite
黒鉛|graphite
グラフェン|graphene
酸化グラフェン|graphene oxide
炭素|carbon
多孔質炭素|porous carbon
カーボン|carbon
カーボンナノチューブ|carbon nanotube
ダイヤモンド|diamond
シリコン|silicon
ケイ素|silicon
セパレータ|separator
セパレーター|separator
バインダー|binder
集電体|current collector
添加剤|additive
導電助剤|conductive additive
活物質|active material
溶媒|solvent
溶液|solution
水溶液|aqueous solution
水|water
海水|seawater
地下水|groundwater
容量|capacity
放電容量|discharge capacity
充電容量|charge capacity
初期放電容量|initial discharge capacity
比容量|specific capacity
容量維持率|capacity retention
維持率|retention
充電|charge|charging
放電|discharge|discharging
充放電|charge discharge
サイクル|cycle
サイクル特性|cycling performance
サイクル寿命|cycle life
サイクル目|cycle
寿命|lifetime|life
レート特性|rate capability
クーロン効率|coulombic efficiency
エネルギー密度|energy density
出力密度|power density
過電圧|overpotential
電圧|voltage
電位|potential
プラトー|plateau
開回路電圧|open circuit voltage
短絡電流|short circuit current
電流|current
電流密度|current density
抵抗|resistance
内部抵抗|internal resistance
抵抗率|resistivity
インピーダンス|impedance
伝導率|conductivity
導電率|conductivity
電気伝導率|electrical conductivity
イオン伝導率|ionic conductivity
イオン伝導度|ionic conductivity
熱伝導率|thermal conductivity
拡散係数|diffusion coefficient|diffusivity
自己拡散|self-diffusion
拡散|diffusion
拡散長|diffusion length
粘度|viscosity
安全性|safety
釘刺し|nail penetration
釘刺し試験|nail penetration test
熱暴走|thermal runaway
不動態|passive|passivated
不動態化|passivation|passivated
被膜|film|coating
皮膜|film|layer
被覆|coating
コーティング|coating
リン酸エステル|phosphate
難燃剤|flame retardant
加熱|heating
加熱速度|heating rate
冷却|cooling
冷却速度|cooling rate
昇温|heating
温度|temperature
室温|room temperature
高温|high temperature
低温|low temperature
温度上昇|temperature rise
上昇|rise|increase
融点|melting point
沸点|boiling point
ガラス転移温度|glass transition temperature
転移温度|transition temperature
相転移|phase transition
相図|phase diagram
熱処理|heat treatment
焼鈍|annealing
アニール|annealing
焼入れ|hardening|quenching
表面焼入れ|surface hardening|surface hardened
高周波焼入れ|induction hardening
焼戻し|tempering
焼結|sintering
焼成|calcination|firing
溶接|welding
溶接部|weldment|weld
溶接金属|weld metal
母材|base metal
鋳造|casting
圧延|rolling
鍛造|forging
積層造形|additive manufacturing
熱間等方圧加圧|hot isostatic pressing
合成|synthesis|synthesized
合成法|synthesis method
水熱合成|hydrothermal synthesis
固相反応|solid-state reaction
ゾルゲル|sol-gel
共沈|coprecipitation
マイクロ波|microwave
マイクロ波加熱|microwave heating|microwave
燃焼|combustion
熱分解|pyrolysis
炭化|carbonization
粉砕|milling
ボールミル|ball milling
薄膜|thin film
膜|film|membrane
スパッタ|sputtering
蒸着|deposition|evaporation
成膜|deposition
エピタキシャル|epitaxial
単結晶|single crystal
多結晶|polycrystalline
結晶|crystal
結晶構造|crystal structure
結晶粒|grain
粒径|grain size|particle size
粒界|grain boundary
格子定数|lattice constant|lattice parameter
格子|lattice
空間群|space group
対称性|symmetry
単位格子|unit cell
空孔|vacancy
欠陥|defect
転位|dislocation
すべり系|slip system
双晶|twin|twinning
ドーピング|doping
不純物|impurity
介在物|inclusion
析出|precipitation
析出物|precipitate
組織|microstructure
ミクロ組織|microstructure
相|phase
固溶体|solid solution
合金|alloy
ハイエントロピー合金|high-entropy alloy
アルミニウム合金|aluminium alloy
チタン合金|titanium alloy
鋼|steel
炭素鋼|carbon steel
ステンレス鋼|stainless steel
軸受鋼|bearing steel
軸受|bearing
マルテンサイト|martensite
オーステナイト|austenite
フェライト|ferrite
ベイナイト|bainite
パーライト|pearlite
セメンタイト|cementite
鉄|iron
銅|copper
亜鉛|zinc
ニッケル|nickel
コバルト|cobalt
マンガン|manganese
アルミニウム|aluminium|aluminum
チタン|titanium
リチウム|lithium
ナトリウム|sodium
カリウム|potassium
マグネシウム|magnesium
カルシウム|calcium
バリウム|barium
ジルコニウム|zirconium
白金|platinum
金|gold
銀|silver
鉛|lead
スズ|tin
酸素|oxygen
水素|hydrogen
窒素|nitrogen
硫黄|sulfur|sulphur
二酸化炭素|carbon dioxide|CO2
メタン|methane
有機物|organic matter|organic
無機|inorganic
気体|gas
ガス|gas
気相|gas phase
液体|liquid
固体|solid
体積|volume
質量|mass
重量|weight
密度|density
細孔|pore
細孔容積|pore volume
細孔径|pore size|pore diameter
比表面積|specific surface area
表面積|surface area
表面|surface
界面|interface
多孔質|porous
階層的|hierarchical|hierarchically
空隙率|porosity
粒子|particle
ナノ粒子|nanoparticle
ナノ|nano
厚さ|thickness
膜厚|film thickness
長さ|length
幅|width
距離|distance
半径|radius
カットオフ半径|cutoff radius|cut-off radius
カットオフ|cutoff
濃度|concentration
モル濃度|molarity
組成|composition
組成式|chemical formula|composition
化学式|chemical formula
比|ratio
割合|fraction|ratio
圧力|pressure
強度|strength|intensity
引張強さ|tensile strength
引張強度|tensile strength
降伏強度|yield strength
降伏応力|yield stress
硬さ|hardness
硬度|hardness
ビッカース硬さ|Vickers hardness
靭性|toughness
破壊靭性|fracture toughness
疲労|fatigue
クリープ|creep
応力|stress
残留応力|residual stress
ひずみ|strain
歪み|strain
弾性|elastic
弾性率|elastic modulus
ヤング率|Young's modulus
剛性率|shear modulus
体積弾性率|bulk modulus
ポアソン比|Poisson's ratio
塑性|plasticity|plastic
粘弾性|viscoelastic
弾塑性|elastic-plastic
き裂|crack
亀裂|crack
変形|deformation
腐食|corrosion
腐食速度|corrosion rate
孔食|pitting
防食|corrosion protection|corrosion inhibition
防食効率|inhibition efficiency
腐食抑制剤|corrosion inhibitor
抑制剤|inhibitor
インヒビター|inhibitor
電気防食|cathodic protection
陰極防食|cathodic protection
イミダゾール|imidazole
配管|pipe|pipeline
断熱|insulation|insulated
土壌|soil
設計|design
最適化|optimization
電荷移動|charge transfer
電荷移動錯体|charge-transfer complex
錯体|complex
超分子|supramolecular
酸化還元|redox
酸化|oxidation
還元|reduction
酸化数|oxidation state
触媒|catalyst
光触媒|photocatalyst
電極触媒|electrocatalyst
活性|activity
選択性|selectivity
収率|yield
反応|reaction
反応機構|reaction mechanism
反応速度|reaction rate
ターンオーバー数|turnover number
活性化エネルギー|activation energy
エネルギー|energy
生成エネルギー|formation energy
結合エネルギー|binding energy|bond energy
吸着|adsorption
吸着エネルギー|adsorption energy
吸収|absorption
吸光係数|absorption coefficient
励起|excitation
励起状態|excited state
発光|emission|luminescence
蛍光|fluorescence
蛍光量子収率|fluorescence quantum yield
量子収率|quantum yield
フォトルミネッセンス|photoluminescence
ピーク|peak
ピーク位置|peak position
スペクトル|spectrum|spectra
波長|wavelength
光|light
バンドギャップ|band gap
禁制帯幅|band gap
バンド構造|band structure
伝導帯|conduction band
価電子帯|valence band
状態密度|density of states
有効質量|effective mass
電子|electron
電子密度|electron density
正孔|hole
キャリア|carrier
移動度|mobility
少数キャリア|minority carrier
半導体|semiconductor
絶縁体|insulator
金属|metal
超伝導|superconducting|superconductivity
臨界温度|critical temperature
磁性|magnetic|magnetism
磁石|magnet
磁場|magnetic field
磁化|magnetization
保磁力|coercivity
強磁性|ferromagnetic
反強磁性|antiferromagnetic
キュリー温度|Curie temperature
強誘電体|ferroelectric
圧電|piezoelectric
圧電係数|piezoelectric coefficient
誘電率|dielectric constant|permittivity
屈折率|refractive index
熱電|thermoelectric
ゼーベック係数|Seebeck coefficient
熱膨張|thermal expansion
熱膨張係数|thermal expansion coefficient
比熱|specific heat|heat capacity
熱容量|heat capacity
エントロピー|entropy
エントロピー変化|entropy change
エンタルピー|enthalpy
自由エネルギー|free energy
化学ポテンシャル|chemical potential
平衡|equilibrium
溶解度|solubility
密度汎関数理論|density functional theory|DFT
第一原理計算|first-principles calculation
分子動力学|molecular dynamics
機械学習|machine learning
計算|calculation
シミュレーション|simulation
有限要素法|finite element method
有限要素|finite element
ポテンシャル|potential
汎関数|functional
擬ポテンシャル|pseudopotential
平面波|plane wave
交換相関|exchange-correlation
原子単位|atomic unit
原子|atom|atomic
分子|molecule
イオン|ion
ハートリー|Hartree
コード|code
例題|example
既定値|default value|default
初期値|initial value|default
初期|initial
パラメータ|parameter
入力|input
出力|output|power
物性|property|properties
物性予測|property prediction
予測|prediction|predict
モジュール|module
モデル|model
データ|data
データベース|database
測定|measurement|measured
実験|experiment|experimental
実験的|experimental|experimentally
理論|theory|theoretical
評価|evaluation
分析|analysis
X線回折|X-ray diffraction|XRD
ラマン|Raman
走査型電子顕微鏡|scanning electron microscopy|SEM
透過型電子顕微鏡|transmission electron microscopy|TEM
照射|irradiation|irradiated
線量|dose
窒化|nitriding
最大値|maximum|maximal
最小値|minimum
最大|maximum
最小|minimum
平均|average|mean
平均値|average value
実際の|actual|real
理論値|theoretical value
効率|efficiency
変換効率|conversion efficiency
性能|performance
特性|property|characteristics
方法|method
条件|condition
影響|effect|influence
効果|effect
理由|reason
原因|cause
構造|structure
二量体|dimer
三量体|trimer
四量体|tetramer
架橋|linked|crosslinked
アミン|amine
高分子|polymer
ポリマー|polymer
樹脂|resin
複合材料|composite
セラミックス|ceramic
ガラス|glass
金属有機構造体|metal-organic framework
コスト|cost
価格|price|cost
バイオマス|biomass
竹|bamboo
木材|wood
ハイブリッド|hybrid
保った|retained|retention
維持|retain|maintain
劣化|degradation|deterioration|fade
容量劣化|capacity fade|capacity degradation
安定性|stability
熱安定性|thermal stability
防止剤|inhibitor
腐食防止剤|corrosion inhibitor
抑制|suppression|inhibition
水素化物|hydride
ホウ化物|boride
リン化物|phosphide
ケイ化物|silicide
金属間化合物|intermetallic compound|intermetallic
化合物|compound
材料|material
熱電材料|thermoelectric material
磁性材料|magnetic material
機能材料|functional material
永久磁石|permanent magnet
超電導体|superconductor
超伝導体|superconductor
高温超電導体|high-temperature superconductor
高温超伝導体|high-temperature superconductor
同定|identification
相同定|phase identification
飽和磁化|saturation magnetization
飽和|saturation
形成|formation
形成エネルギー|formation energy
生成熱|heat of formation
めっき|plating|electroplating
電着|electrodeposition
電気化学|electrochemical|electrochemistry
電気化学インピーダンス|electrochemical impedance
電気分解|electrolysis
水の電気分解|water electrolysis
析出強化|precipitation strengthening|precipitation hardening
強化|strengthening
結晶成長|crystal growth
成長|growth
アモルファス|amorphous
非晶質|amorphous
多形|polymorph
状態図|phase diagram
凸包|convex hull
元素|element
化学組成|chemical composition
原料|raw material|precursor
前駆体|precursor
塗布|coating
塗膜|coating
めっき膜|plated film
不動態皮膜|passive film
分極曲線|polarization curve
分極|polarization
交換電流密度|exchange current density
律速|rate-determining
機構|mechanism
転化率|conversion
酸素還元反応|oxygen reduction reaction
酸素発生反応|oxygen evolution reaction
水素発生反応|hydrogen evolution reaction
二酸化炭素還元|CO2 reduction
水素製造|hydrogen production
水素貯蔵|hydrogen storage
光電変換|photovoltaic|photoelectric conversion
量子効率|quantum efficiency
寿命予測|lifetime prediction
破壊靱性|fracture toughness
靱性|toughness
延性|ductility
脆性|brittle|brittleness
摩耗|wear
摩擦|friction
結晶塑性|crystal plasticity
弾性定数|elastic constant
せん断弾性率|shear modulus
単位胞|unit cell
電子移動度|electron mobility
キャリア濃度|carrier concentration
励起子|exciton
フォノン|phonon
スピン|spin
磁気モーメント|magnetic moment
配位子|ligand
配位|coordination
表面処理|surface treatment
急冷|quenching
粉末冶金|powder metallurgy
スパッタリング|sputtering
ゾルゲル法|sol-gel
化学気相成長|chemical vapour deposition|CVD
原子層堆積|atomic layer deposition|ALD
走査|scanning
顕微鏡|microscopy|microscope
分光|spectroscopy
質量分析|mass spectrometry
核磁気共鳴|nuclear magnetic resonance|NMR
熱重量分析|thermogravimetric analysis|TGA
示差走査熱量測定|differential scanning calorimetry|DSC
吸収係数|absorption coefficient
透過率|transmittance
反射率|reflectance
再現性|reproducibility
精度|accuracy|precision
誤差|error
不確かさ|uncertainty
学習データ|training data
ニューラルネットワーク|neural network
深層学習|deep learning
コバルト酸リチウム|lithium cobalt oxide|LiCoO2
マンガン酸リチウム|lithium manganese oxide|LiMn2O4
ニッケル酸リチウム|lithium nickel oxide|LiNiO2
チタン酸リチウム|lithium titanate|Li4Ti5O12
鉄鋼|steel
アルミナ|alumina|Al2O3
ジルコニア|zirconia|ZrO2
シリカ|silica|SiO2
チタニア|titania|TiO2
磁鉄鉱|magnetite|Fe3O4
赤鉄鉱|hematite|Fe2O3
石英|quartz|SiO2
"""
