// Words of codes, put in the order in which the quad tells x.
            let a{{r}}_{{f}} = words[(block * FOURS + {{f}}u) * STORED + row{{r}}];
            let b{{r}}_{{f}} = select(a{{r}}_{{f}}, a{{r}}_{{f}}.yxwz, odd);
            let q{{r}}_{{f}} = select(b{{r}}_{{f}}, b{{r}}_{{f}}.zwxy, high);
